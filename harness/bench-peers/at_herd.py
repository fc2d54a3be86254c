"""A herd of the line protocol in plain asyncio: what one writes without much ado, for comparison.

`at_herd.py NAME [--port N] [--peer HOST:PORT]...` serves until it is killed. It dials its peers, prints one
line with its address once all of them have answered, and floods what is new to whoever it is linked with,
whichever side dialed.
"""

import argparse
import asyncio
import re
import time

try:
    import uvloop
except ImportError:
    uvloop = None

LOCATION = rb"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)"
TIME = rb"(\d{1,10})(?:\.(\d{1,9}))?"
iamat = re.compile(rb"\s*IAMAT\s+(\S{1,255})\s+" + LOCATION + rb"\s+" + TIME + rb"\s*").fullmatch
at = re.compile(
    rb"\s*AT\s+(\S{1,255})\s+([+-]\d+\.\d{9})\s+(\S{1,255})\s+" + LOCATION + rb"\s+" + TIME + rb"\s*"
).fullmatch
whatsat = re.compile(rb"\s*WHATSAT\s+(\S{1,255})\s+(\d+(?:\.\d+)?)\s+(\d{1,2})\s*").fullmatch

SECOND = 1_000_000_000
RADIUS_MAX_KM = 50
BOUND_MAX = 20


class Herd:
    """What one server knows, and whom it tells."""

    def __init__(self, name):
        self.name = name
        # Client to ((time, server, location), AT line): the greatest of the first is the newest.
        self.newest = {}
        self.links = set()

    def store(self, client, key, line):
        """True if this is news; that also ends every loop of a flood."""
        known = self.newest.get(client)
        if known is not None and known[0] >= key:
            return False
        self.newest[client] = (key, line)
        return True


class Connection(asyncio.Protocol):
    """A client, or a neighbor: who says LINK is one."""

    def __init__(self, herd, linked=None):
        self.herd = herd
        self.rest = b""
        # Set where this side dialed.
        self.linked = linked

    def connection_made(self, transport):
        self.transport = transport
        if self.linked is not None:
            transport.write(b"LINK %b\n" % self.herd.name)

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.take(lines)

    def eof_received(self):
        self.take([self.rest])

    def connection_lost(self, error):
        self.herd.links.discard(self.transport)

    def take(self, lines):
        """Answers all lines with one write, and tells each neighbor all news with one write."""
        herd = self.herd
        name, store = herd.name, herd.store
        replies, news = [], []
        now = time.time_ns()
        for line in lines:
            if match := iamat(line):
                client, lat, lon, seconds, fraction = match.groups()
                nanos = nanos_of(seconds, fraction)
                if not on_earth(lat, lon):
                    replies.append(b"? %b\n" % line)
                    continue
                ahead = now - nanos
                sign, ahead = (b"-", -ahead) if ahead < 0 else (b"+", ahead)
                told = b"AT %b %b%d.%09d %b\n" % (
                    name, sign, ahead // SECOND, ahead % SECOND, b" ".join(line.split()[1:])
                )
                replies.append(told)
                if store(client, (nanos, name, lat + lon), told):
                    news.append(told)
            elif match := at(line):
                server, _, client, lat, lon, seconds, fraction = match.groups()
                key = (nanos_of(seconds, fraction), server, lat + lon)
                if not on_earth(lat, lon):
                    replies.append(b"? %b\n" % line)
                elif store(client, key, told := line + b"\n"):
                    news.append(told)
            elif not line.strip():
                pass
            elif (match := whatsat(line)) and (known := herd.newest.get(match[1])) and (
                float(match[2]) <= RADIUS_MAX_KM and int(match[3]) <= BOUND_MAX
            ):
                replies.append(b'%b{"results": []}\n\n' % known[1])
            elif line.startswith(b"LINK "):
                herd.links.add(self.transport)
                replies.append(b"LINKED %b\n" % name)
            elif self.linked is not None and line.startswith(b"LINKED "):
                herd.links.add(self.transport)
                self.linked.set_result(None)
            elif self.transport not in herd.links:
                replies.append(b"? %b\n" % line)
        if replies:
            self.transport.write(b"".join(replies))
        if news:
            flood = b"".join(news)
            for link in herd.links:
                if link is not self.transport:
                    link.write(flood)


def nanos_of(seconds, fraction):
    """Integers: a float has no room for nanoseconds since 1970."""
    if fraction is None:
        return int(seconds) * SECOND
    return int(seconds) * SECOND + int(fraction.ljust(9, b"0"))


def on_earth(lat, lon):
    return -90 <= float(lat) <= 90 and -180 <= float(lon) <= 180


async def serve(name, port, peers):
    loop = asyncio.get_running_loop()
    herd = Herd(name.encode())
    server = await loop.create_server(lambda: Connection(herd), "127.0.0.1", port, backlog=1024)
    for peer in peers:
        host, _, peer_port = peer.rpartition(":")
        linked = loop.create_future()
        await loop.create_connection(lambda: Connection(herd, linked), host, int(peer_port))
        await linked
    host, port = server.sockets[0].getsockname()
    kind = "uvloop" if uvloop else "asyncio"
    print(f"ready: {name} on {kind} at {host}:{port}", flush=True)
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--peer", action="append", default=[], metavar="HOST:PORT", help="a server that runs")
    args = parser.parse_args()
    if uvloop:
        uvloop.install()
    asyncio.run(serve(args.name, args.port, args.peer))


if __name__ == "__main__":
    main()
