"""The words the declarations are written in; each file beside this package declares one model with them."""
