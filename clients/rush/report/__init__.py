"""How a rush is shown: the table on the terminal, the report, the picture, the comparison of two runs."""
