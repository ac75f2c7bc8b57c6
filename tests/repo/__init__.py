"""What holds for the source as a whole: layers, imports, exports, words, documents."""
