"""What people look at: metrics, live progress, plots, videos and the report page."""
