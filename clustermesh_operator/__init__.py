"""What one cluster makes of all clusters' ServiceExports: ServiceImports, and what stands behind them."""
