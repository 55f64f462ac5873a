"""Code around the denoiser: data, image files, the published baseline."""
