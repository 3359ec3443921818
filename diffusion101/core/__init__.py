"""The mathematics of diffusion. It knows no networks: whatever is called as (x, t) and answers with Denoised will do."""
