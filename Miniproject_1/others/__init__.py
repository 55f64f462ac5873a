"""Around the denoiser: image files, photos, scenes, noise, data sets, results, pictures."""
