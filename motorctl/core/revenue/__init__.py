"""Revenue: sums of money over orders, by period, by customer and by product.

`selection` says which orders count and what their fields are called, `amounts` how money is added and
read, `report` what a report is. Each report builds one pipeline (pure), sends it, and reads its groups
(pure); nothing that a server can do is done here.
"""
