"""What the denoiser is measured by: recipes, comparison, published network, robustness, report."""
