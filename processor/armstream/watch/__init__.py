"""The page and the screen that a desk leaves open. Law: it reads and shows; it writes nothing, anywhere."""
