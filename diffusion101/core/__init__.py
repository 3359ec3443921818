"""The mathematics of diffusion. It knows no networks: any function (x, t) -> Denoised will do."""
