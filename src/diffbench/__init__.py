"""diffbench: what each step from DDPM to SD3 bought, measured on MNIST."""

__version__ = "0.1.0"
