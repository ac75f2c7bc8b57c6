"""The verbs about images: pull, images, rmi and what belongs to them; one file each."""
