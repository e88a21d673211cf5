"""The notebook's cells as functions: a step reads its arguments and returns what later cells or the caller use."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sales.functions import best, net

from mlguard_nb import cache_result, retry
from mlguard_nb.pipeline import save_figures, step


@step(cell=3, outputs=("sales",))
@cache_result(ttl=3600.0, watch_files=True, hand_out="copy")
@retry(attempts=3, wait_initial=1.0, wait_max=30.0)
def load_data(path: str):
    """1. Load the data.

    Prices are in euros.
    """
    return pd.read_csv(path)


@step(cell="6-7", outputs=("sales",))
def clean(sales):
    """2. Clean."""
    # returns are no sales
    sales = sales[sales["price"] > 0]
    sales["net"] = net(sales["price"])
    for column in ["price", "net"]:
        sales[column + "_log"] = np.log1p(sales[column])
    return sales


@step(cell=9, outputs=("totals", "top"))
def shops(sales, n_best: int):
    """3. Shops."""
    totals = sales.groupby("shop")["net"].sum()
    top = best(totals, n_best=n_best)
    return totals, top


@step(cell=10)
def plot_shops(totals) -> None:
    """3. Shops."""
    totals.plot.bar()
    plt.title("Sales")
    save_figures("shops")


@step(cell=11, outputs=("share",))
def shops_share(top, totals):
    """3. Shops."""
    share = top.sum() / totals.sum()
    print(f"{share:.0%}")
    return share
