"""Makes the inputs of the table benchmark: orders of a shop in 200 CSV and 200 JSON-lines files, the same in every run.

A fifth of the notes are quoted, some over two lines; customers and products follow Zipf's law; some values are missing.
"""

import argparse
import bisect
import itertools
import json
import random
from pathlib import Path

SEED = 20261126
FILES = 200
CSV_ROWS = 8_000
JSON_ROWS = 4_600
CITIES = ["Barcelona", "Lübeck", "São Paulo", "Osaka", "Nairobi", "Montréal", "Tromsø", "Austin", "Kraków", "Hanoi"]
STATES = ["paid", "paid", "paid", "shipped", "shipped", "returned", "open"]
WORDS = "please leave the parcel at the door and ring twice or call the neighbour before noon thank you very much".split()


class Zipf:
    def __init__(self, count, exponent):
        self.sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(count)))

    def draw(self, chance):
        return bisect.bisect(self.sums, chance.random() * self.sums[-1])


CUSTOMERS = Zipf(100_000, 0.9)
PRODUCTS = Zipf(5_000, 1.1)


def orders(chance, first, count):
    for number in range(first, first + count):
        day, second = chance.randrange(365), chance.randrange(86_400)
        month = day * 12 // 365 + 1
        note = " ".join(chance.choices(WORDS, k=chance.randrange(1, 6)))
        if chance.random() < 0.2:
            note += chance.choice([', said "soon"', ", or not", ",\nsecond line"])
        yield {
            "order": number,
            "time": f"2026-{month:02}-{day % 28 + 1:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z",
            "customer": f"c{CUSTOMERS.draw(chance):06}",
            "product": PRODUCTS.draw(chance),
            "quantity": chance.randrange(1, 10),
            "price": round(chance.lognormvariate(3, 1), 2),
            "discount": round(chance.random() / 4, 4) if chance.random() < 0.3 else None,
            "city": chance.choice(CITIES),
            "state": chance.choice(STATES),
            "gift": chance.random() < 0.1,
            "note": note,
        }


def field(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if any(c in text for c in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def member(order):
    """The same order, nested, and with more in it."""
    place = {"city": order.pop("city"), "lane": order["product"] % 97}
    shop = {"name": f"shop {order['quantity']}", "open": True}
    return {**order, "place": place, "shop": shop, "weight": order["price"] / 7, "tags": [order["state"], "web"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for kind, rows in [("csv", CSV_ROWS), ("jsonl", JSON_ROWS)]:
        place = folder / kind
        if (place / "done").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        for number in range(FILES):
            chance = random.Random(f"{SEED} {kind} {number}")
            lines = []
            for order in orders(chance, number * rows, rows):
                if kind == "csv":
                    if not lines:
                        lines.append(",".join(order))
                    lines.append(",".join(map(field, order.values())))
                else:
                    lines.append(json.dumps(member(order), ensure_ascii=False))
            (place / f"orders-{number:03}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        (place / "done").touch()


if __name__ == "__main__":
    main()
