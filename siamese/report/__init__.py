"""Model cards, reports and figures."""
