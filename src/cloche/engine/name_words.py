"""The words that names are made of: what is good to be, and people who looked closely at the world."""

from __future__ import annotations

ADJECTIVES = (
    "able airy amber ample apt astute attentive awake balmy beaming bold brave breezy bright brisk bubbly calm candid"
    " careful caring cheerful clear clever composed considerate constant content cosy courteous crisp curious dapper"
    " daring dazzling deft delighted diligent dreamy eager earnest easygoing elated elegant fair faithful fearless"
    " festive flourishing fond frank fresh friendly frosty gallant generous gentle genuine gifted glad gleaming golden"
    " graceful grateful happy hardy harmonic hearty helpful honest hopeful humble inventive jaunty jolly jovial"
    " joyful keen kind leafy light lively lucid lucky luminous mellow merry mild mindful modest neat nimble noble"
    " observant open orderly patient peaceful placid playful pleasant plucky poised polite proud prudent quick quiet"
    " radiant ready relaxed reliable resolute rested robust rosy sage serene silver sincere skilful smart snug sober"
    " sparkling spirited spry stable steady stellar sturdy sunny swift tactful tender thankful thorough thoughtful"
    " thriving tidy tranquil trusty upbeat useful valiant verdant versatile vibrant vigilant vivid warm watchful"
    " welcome willing wise witty wonderful worthy zesty"
).split()
SURNAMES = (
    "abel agnesi alhazen anning aristarchus arrhenius artin avogadro babbage banach banks banneker bardeen bartram"
    " bateson bernoulli berzelius bessel bhabha blackburn blackwell bohr boltzmann boole borlaug born bose boyle"
    " brahe brahmagupta brewster burbank burnell cannon cantor carson carver cauchy cavendish chandrasekhar"
    " chatelet church clarke cori coulomb curie dalton darwin davy dedekind descartes dijkstra dirac dodgson doppler"
    " easley eddington ehrlich elion emeagwali engelbart eratosthenes erdos euclid euler fabre faraday fermat fermi"
    " feynman fibonacci fleming fourier franklin fresnel galois galvani gauss germain gibbs gilbreth goodall gray"
    " hadamard halley hamilton harvey haslett hawking heaviside herschel hilbert hodgkin hooke"
    " hooker hopper humboldt hutton huxley huygens hypatia ibnsina jacobi jekyll jemison jenner johnson joliot joule"
    " karle kepler khayyam khwarizmi kovalevskaya lagrange lamarr lamport laplace lavoisier leakey leavitt leibniz"
    " linnaeus lister lorentz lovelace lyell maathai malpighi marsh maxwell mayer mcclintock meitner mendel mendeleev"
    " merian michelson mirzakhani mitchell morse napier newton nightingale noether north oersted ohm olmsted pascal"
    " pasteur pauli payne planck poincare poisson ptolemy pythagoras ramanujan raman ray rayleigh riemann ritchie"
    " robinson rontgen rubin rutherford sagan sammet sanger schrodinger seaborg shannon snow somerville stokes swan"
    " tharp thompson tradescant tull turing villani volta wallace wegener wilkins wiles wilson wing wu yalow young"
    " yonath zhang zeno"
).split()
