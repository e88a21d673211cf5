"""Stand-ins for the tables that seaborn's notebooks load from the network: their columns, with drawn values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

__all__ = ["write_datasets"]


def write_datasets(folder: Path) -> Path:
    """Write each table as NAME.csv into `folder`, which SEABORN_DATA is to name, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_names.txt").write_text("\n".join(_TABLES), encoding="utf-8")
    for name, make in _TABLES.items():
        if not (folder / f"{name}.csv").exists():
            import numpy as np
            import pandas as pd

            pd.DataFrame(make(np.random.default_rng(len(name)))).to_csv(folder / f"{name}.csv", index=False)
    return folder


def _crossed(**levels: Any) -> dict[str, list[Any]]:
    """Every combination of the levels, a row each."""
    rows = list(product(*levels.values()))
    return {name: [row[number] for row in rows] for number, name in enumerate(levels)}


def _tips(draw: Any) -> dict[str, Any]:
    bill = draw.gamma(5, 4, 244).round(2)
    return {
        "total_bill": bill, "tip": (bill * draw.uniform(0.1, 0.25, 244)).round(2) + 1,
        "sex": draw.choice(["Male", "Female"], 244), "smoker": draw.choice(["Yes", "No"], 244),
        "day": draw.choice(["Thur", "Fri", "Sat", "Sun"], 244), "time": draw.choice(["Lunch", "Dinner"], 244),
        "size": draw.integers(1, 7, 244),
    }  # fmt: skip


def _iris(draw: Any) -> dict[str, Any]:
    kinds = [kind for kind in ("setosa", "versicolor", "virginica") for _ in range(50)]
    shift = [("setosa", "versicolor", "virginica").index(kind) for kind in kinds]
    parts = {"sepal_length": 5.0, "sepal_width": 3.4, "petal_length": 1.5, "petal_width": 0.3}
    return {name: (draw.normal(0, 0.3, 150) + shift + mean).round(1) for name, mean in parts.items()} | {
        "species": kinds
    }


def _penguins(draw: Any) -> dict[str, Any]:
    species = draw.choice(["Adelie", "Chinstrap", "Gentoo"], 344)
    shift = (species == "Gentoo") * 1.0
    sex = draw.choice(["Male", "Female", None], 344, p=[0.49, 0.48, 0.03])
    return {
        "species": species, "island": draw.choice(["Torgersen", "Biscoe", "Dream"], 344),
        "bill_length_mm": (40 + 7 * shift + draw.normal(0, 3, 344)).round(1),
        "bill_depth_mm": (18 - 3 * shift + draw.normal(0, 1, 344)).round(1),
        "flipper_length_mm": (190 + 27 * shift + draw.normal(0, 7, 344)).round(0),
        "body_mass_g": (3700 + 1300 * shift + draw.normal(0, 400, 344)).round(-1), "sex": sex,
    }  # fmt: skip


def _flights(draw: Any) -> dict[str, Any]:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return _crossed(year=range(1949, 1961), month=months) | {"passengers": draw.integers(100, 600, 144)}


def _fmri(draw: Any) -> dict[str, Any]:
    made = _crossed(
        subject=[f"s{number}" for number in range(14)], timepoint=range(19), event=["stim", "cue"],
        region=["parietal", "frontal"],
    )  # fmt: skip
    return made | {"signal": draw.normal(0, 0.1, len(made["subject"]))}


def _mpg(draw: Any) -> dict[str, Any]:
    weight = draw.integers(1600, 5200, 398)
    return {
        "mpg": (45 - weight / 160 + draw.normal(0, 2, 398)).round(1), "cylinders": draw.choice([3, 4, 5, 6, 8], 398),
        "displacement": draw.uniform(68, 455, 398).round(0),
        "horsepower": [None if one < 50 else one for one in draw.integers(46, 230, 398)], "weight": weight,
        "acceleration": draw.normal(15, 2.7, 398).round(1), "model_year": draw.integers(70, 83, 398),
        "origin": draw.choice(["usa", "japan", "europe"], 398), "name": [f"car {number}" for number in range(398)],
    }  # fmt: skip


def _titanic(draw: Any) -> dict[str, Any]:
    number = draw.integers(1, 4, 891)
    sex = draw.choice(["male", "female"], 891)
    survived = draw.integers(0, 2, 891)
    return {
        "survived": survived, "pclass": number, "sex": sex, "age": draw.uniform(1, 80, 891).round(0),
        "sibsp": draw.integers(0, 5, 891), "parch": draw.integers(0, 4, 891),
        "fare": draw.gamma(2, 16, 891).round(2), "embarked": draw.choice(["S", "C", "Q"], 891),
        "class": [("First", "Second", "Third")[one - 1] for one in number],
        "who": [("man", "woman")[one == "female"] for one in sex], "adult_male": sex == "male",
        "deck": draw.choice(["A", "B", "C", "D", "E", "F", "G"], 891),
        "embark_town": draw.choice(["Southampton", "Cherbourg", "Queenstown"], 891),
        "alive": [("no", "yes")[one] for one in survived], "alone": draw.choice([True, False], 891),
    }  # fmt: skip


def _diamonds(draw: Any) -> dict[str, Any]:
    carat = draw.gamma(2, 0.4, 5000).round(2) + 0.2
    return {
        "carat": carat, "cut": draw.choice(["Ideal", "Premium", "Very Good", "Good", "Fair"], 5000),
        "color": draw.choice(list("DEFGHIJ"), 5000),
        "clarity": draw.choice(["IF", "VVS1", "VVS2", "VS1", "VS2", "SI1", "SI2", "I1"], 5000),
        "depth": draw.normal(61.7, 1.4, 5000).round(1), "table": draw.normal(57, 2, 5000).round(0),
        "price": (4000 * carat ** 1.6).round(0).astype(int), "x": (6 * carat**0.33).round(2),
        "y": (6 * carat**0.33).round(2), "z": (3.7 * carat**0.33).round(2),
    }  # fmt: skip


def _planets(draw: Any) -> dict[str, Any]:
    return {
        "method": draw.choice(["Radial Velocity", "Transit", "Imaging", "Microlensing"], 400),
        "number": draw.integers(1, 7, 400), "orbital_period": draw.lognormal(4, 2, 400),
        "mass": draw.lognormal(0, 1, 400), "distance": draw.lognormal(4, 1, 400), "year": draw.integers(1992, 2015, 400),
    }  # fmt: skip


def _anscombe(draw: Any) -> dict[str, Any]:
    x = list(range(4, 15))
    return {
        "dataset": [name for name in ("I", "II", "III", "IV") for _ in x], "x": [*x * 3, *([8] * 10), 19],
        "y": (3 + 0.5 * draw.uniform(4, 14, 44)).round(2),
    }  # fmt: skip


def _attention(draw: Any) -> dict[str, Any]:
    made = _crossed(subject=range(1, 21), solutions=[1, 2, 3])
    kinds = ["divided" if one <= 10 else "focused" for one in made["subject"]]
    counted = {"Unnamed: 0": range(60), "subject": made["subject"], "attention": kinds, "solutions": made["solutions"]}
    return counted | {"score": draw.integers(2, 10, 60)}


def _dots(draw: Any) -> dict[str, Any]:
    made = _crossed(
        align=["dots", "sacc"],
        choice=["T1", "T2"],
        time=range(-600, 820, 20),
        coherence=[0.0, 3.2, 6.4, 12.8, 25.6, 51.2],
    )
    return made | {"firing_rate": draw.normal(40, 10, len(made["align"]))}


def _exercise(draw: Any) -> dict[str, Any]:
    made = _crossed(id=range(1, 31), time=["1 min", "15 min", "30 min"])
    count = len(made["id"])
    return {
        "Unnamed: 0": range(count), "id": made["id"], "diet": ["low fat" if one % 2 else "no fat" for one in made["id"]],
        "pulse": draw.integers(80, 150, count), "time": made["time"],
        "kind": [("rest", "walking", "running")[one % 3] for one in made["id"]],
    }  # fmt: skip


def _car_crashes(draw: Any) -> dict[str, Any]:
    columns = ["total", "speeding", "alcohol", "not_distracted", "no_previous", "ins_premium", "ins_losses"]
    return {name: draw.uniform(1, 25, 51).round(2) for name in columns} | {"abbrev": [f"S{one}" for one in range(51)]}


def _taxis(draw: Any) -> dict[str, Any]:
    import pandas as pd

    picked = pd.Timestamp("2019-03-01") + pd.to_timedelta(draw.integers(0, 30 * 86400, 800), unit="s")
    boroughs = ["Manhattan", "Queens", "Brooklyn", "Bronx"]
    fare = draw.gamma(3, 4, 800).round(1) + 2.5
    return {
        "pickup": picked, "dropoff": picked + pd.to_timedelta(draw.integers(100, 4000, 800), unit="s"),
        "passengers": draw.integers(1, 6, 800), "distance": draw.gamma(2, 1.5, 800).round(2), "fare": fare,
        "tip": (fare * draw.uniform(0, 0.3, 800)).round(2), "tolls": 0.0, "total": (fare * 1.3).round(2),
        "color": draw.choice(["yellow", "green"], 800), "payment": draw.choice(["credit card", "cash"], 800),
        "pickup_zone": draw.choice(["Midtown", "Astoria"], 800), "dropoff_zone": draw.choice(["Midtown", "Harlem"], 800),
        "pickup_borough": draw.choice(boroughs, 800), "dropoff_borough": draw.choice(boroughs, 800),
    }  # fmt: skip


def _glue(draw: Any) -> dict[str, Any]:
    models = {"ELMo": 2018, "BERT": 2018, "GPT": 2018, "RoBERTa": 2019, "T5": 2019, "DeBERTa": 2020}
    made = _crossed(Model=models, Task=["CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE"])
    return {
        "Model": made["Model"], "Year": [models[one] for one in made["Model"]],
        "Encoder": ["LSTM" if one == "ELMo" else "Transformer" for one in made["Model"]], "Task": made["Task"],
        "Score": draw.uniform(50, 98, len(made["Model"])).round(1),
    }  # fmt: skip


def _geyser(draw: Any) -> dict[str, Any]:
    kind = draw.choice(["long", "short"], 272)
    return {
        "duration": draw.normal(4, 0.4, 272) - 2 * (kind == "short"),
        "waiting": draw.integers(43, 96, 272),
        "kind": kind,
    }


def _dowjones(draw: Any) -> dict[str, Any]:
    import pandas as pd

    dates = pd.date_range("1914-12-01", periods=649, freq="MS")
    return {"Date": dates, "Price": 60 + draw.normal(1, 8, 649).cumsum().clip(-20).round(2)}


def _seaice(draw: Any) -> dict[str, Any]:
    import pandas as pd

    dates = pd.date_range("1980-01-01", "2019-12-31", freq="5D")
    return {"Date": dates, "Extent": (11 + draw.normal(0, 2, len(dates))).round(3)}


def _healthexp(draw: Any) -> dict[str, Any]:
    made = _crossed(Year=range(1970, 2021), Country=["Germany", "France", "Great Britain", "Japan", "USA", "Canada"])
    count = len(made["Year"])
    return made | {"Spending_USD": draw.uniform(100, 12000, count), "Life_Expectancy": draw.uniform(70, 85, count)}


def _brain_networks(draw: Any) -> dict[str, Any]:
    """Three rows of headings, an index column, then the values."""
    made: dict[str, Any] = {"network": ["node", "hemi", "", *range(60)]}
    for network, node, side in product(range(1, 18), (1, 2), ("lh", "rh")):
        name = f"{network}" + (
            f".{len([one for one in made if one.partition('.')[0] == str(network)])}" if str(network) in made else ""
        )
        made[name] = [node, side, "", *draw.normal(0, 20, 60)]
    return made


_TABLES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "anscombe": _anscombe, "attention": _attention, "brain_networks": _brain_networks, "car_crashes": _car_crashes,
    "diamonds": _diamonds, "dots": _dots, "dowjones": _dowjones, "exercise": _exercise, "flights": _flights,
    "fmri": _fmri, "geyser": _geyser, "glue": _glue, "healthexp": _healthexp, "iris": _iris, "mpg": _mpg,
    "penguins": _penguins, "planets": _planets, "seaice": _seaice, "taxis": _taxis, "tips": _tips, "titanic": _titanic,
}  # fmt: skip
