"""Makes access logs in Apache's combined format as busy sites have them: the same arguments give the same bytes.

    python make_logs.py LINES SEED > access.log

Paths, clients, browsers and referrers are distributed by Zipf's law; requests come in bursts, with nights; some clients are bots,
some ask for what is not there; about one line in two thousand is malformed.
"""

import bisect
import itertools
import random
import sys

BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{} Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
]
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "curl/8.5.0",
    "python-requests/2.31.0",
]
WORDS = "about archive blog cart docs en guide help images item list news page post product search shop static tag user".split()
ENDS = ["", "/", ".html", ".css", ".js", ".png", ".jpg", "?page={}", "?q=word{}&lang=en"]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
MALFORMED = [
    "",
    "\x00\x00\x00\x00",
    "PHP Warning:  Undefined variable $x in /srv/www/index.php on line {}",
    '10.0.0.1 - - [99/Foo/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 {}',
    '10.0.0.1 - - "GET /half',
    "caf\udce9 \udcff {}",
]


def zipf(count, exponent):
    """Cumulated weights 1 / rank ** exponent."""
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))


class Picker:
    def __init__(self, rng, values, exponent):
        self.rng, self.values, self.sums = rng, values, zipf(len(values), exponent)

    def __call__(self):
        return self.values[bisect.bisect_left(self.sums, self.rng.random() * self.sums[-1])]


def lines(count, seed):
    rng = random.Random(seed)

    def path():
        parts = "/".join(rng.choice(WORDS) for _ in range(rng.randint(0, 4)))
        return f"/{parts}{rng.choice(ENDS).format(rng.randint(1, 400))}"

    paths = sorted({path() for _ in range(20_000)})
    rng.shuffle(paths)
    paths = Picker(rng, paths, 1.0)
    browsers = Picker(rng, [rng.choice(BROWSERS).format(rng.randint(90, 130)) for _ in range(400)], 1.0)

    def client():
        address = ".".join(str(rng.randint(1, 254)) for _ in range(4))
        if rng.random() < 0.1:
            address = f"2001:db8::{rng.getrandbits(16):x}:{rng.getrandbits(16):x}"
        return address, rng.choice(BOTS) if rng.random() < 0.08 else browsers()

    # An address, and the agent that calls from there.
    clients = Picker(rng, [client() for _ in range(60_000)], 0.9)
    referrers = ["-", "https://www.google.com/", "https://duckduckgo.com/"]
    referrers += [f"https://example.org{path()}" for _ in range(2_000)]
    referrers = Picker(rng, referrers, 1.2)
    statuses = Picker(rng, [200, 304, 301, 404, 302, 206, 500, 403, 503], 2.2)
    second, burst = 0, 0
    for _ in range(count):
        if rng.random() < 0.0005:
            yield rng.choice(MALFORMED).format(rng.randint(1, 9999))
            continue
        if burst:
            burst -= 1
        elif rng.random() < 0.001:
            burst = rng.randint(100, 3_000)
        else:
            hour = second // 3600 % 24
            if rng.random() < (0.25 if 8 <= hour < 22 else 0.6):
                second += rng.randint(1, 3)
        day, rest = divmod(second, 86_400)
        date = f"{1 + day % 28:02}/{MONTHS[day // 28 % 12]}/2026"
        clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
        status = statuses()
        size = 0 if status == 304 else int(rng.lognormvariate(8.5, 1.6))
        (client, agent), referrer = clients(), referrers()
        method = "POST" if rng.random() < 0.03 else "GET"
        target = f"/wp-login-{rng.randint(1, 300)}.php" if status == 404 else paths()
        yield f'{client} - - [{date}:{clock} +0000] "{method} {target} HTTP/1.1" {status} {size} "{referrer}" "{agent}"'


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    out = sys.stdout.buffer
    rows = (line.encode("utf-8", "surrogateescape") + b"\n" for line in lines(count, seed))
    while batch := b"".join(itertools.islice(rows, 10_000)):
        out.write(batch)


main()
