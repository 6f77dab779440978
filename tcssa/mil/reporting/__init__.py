"""Names of metrics, tables that show them, and published figures."""
