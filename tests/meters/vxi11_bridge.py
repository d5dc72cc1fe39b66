#!/usr/bin/env python3
"""VXI-11 on this machine, in front of an instrument on a plain socket: vxi11_bridge.py PORT

Prints "ready" when a client may connect, or why it cannot be; ends with the client's link. VXI-11 is SunRPC: the
client asks the port mapper (port 111, which only root may have) for the port of program 395183.
Numbers: VXI-11 TCP/IP Instrument Protocol Specification, B.6; RFC 5531 (RPC), RFC 1833 (port mapper).
"""

import socket
import struct
import sys
import threading

CREATE_LINK, WRITE, READ, DESTROY_LINK = 10, 11, 12, 23
END = 4  # the answer's last byte is its end


def padded(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def reply(call, results):
    return call[:4] + struct.pack(">IIIII", 1, 0, 0, 0, 0) + results


def arguments(call):
    """Program, procedure and what follows credentials and verifier."""
    program, _, procedure = struct.unpack(">III", call[12:24])
    at = 24
    for _ in range(2):
        at += 8 + (struct.unpack(">I", call[at + 4 : at + 8])[0] + 3) // 4 * 4
    return program, procedure, call[at:]


def map_by_udp(mapper, port):
    while True:
        call, client = mapper.recvfrom(1024)
        mapper.sendto(port_of(call, port), client)


def map_by_tcp(mapper, port):
    while True:
        link, _ = mapper.accept()
        with link:
            try:
                while True:
                    send(link, port_of(receive(link), port))
            except (EOFError, OSError):
                pass


def port_of(call, port):
    _, procedure, _ = arguments(call)
    return reply(call, struct.pack(">I", port) if procedure == 3 else b"")


def receive(link):
    return exactly(link, struct.unpack(">I", exactly(link, 4))[0] & 0x7FFFFFFF)


def send(link, message):
    link.sendall(struct.pack(">I", 0x80000000 | len(message)) + message)


def exactly(link, count):
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(link, instrument):
    lines = instrument.makefile("rb")
    while True:
        call = receive(link)
        _, procedure, given = arguments(call)
        if procedure == CREATE_LINK:
            results = struct.pack(">iiII", 0, 7, 0, 4096)
        elif procedure == WRITE:
            size = struct.unpack(">I", given[16:20])[0]
            instrument.sendall(given[20 : 20 + size])
            results = struct.pack(">iI", 0, size)
        elif procedure == READ:
            results = struct.pack(">iI", 0, END) + padded(lines.readline())
        else:
            results = struct.pack(">i", 0)
        send(link, reply(call, results))
        if procedure == DESTROY_LINK:
            return


def main():
    mappers = {map_by_udp: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), map_by_tcp: socket.socket()}
    try:
        for mapper in mappers.values():
            mapper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mapper.bind(("127.0.0.1", 111))
        mappers[map_by_tcp].listen()
    except OSError as error:
        print(f"port 111: {error.strerror}", flush=True)
        return
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    for map_ports, mapper in mappers.items():
        threading.Thread(target=map_ports, args=(mapper, listener.getsockname()[1]), daemon=True).start()
    print("ready", flush=True)
    link, _ = listener.accept()
    link.settimeout(20)
    try:
        serve(link, socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    except (EOFError, TimeoutError):
        pass


main()
