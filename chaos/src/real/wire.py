"""Carries packets between two devices, late: wire.py DEVICE DEVICE MILLISECONDS JITTER

This kernel may have no netem, so a program holds each packet until it is due. Jitter reorders, as it does on a real way.
"""
import heapq
import random
import selectors
import socket
import sys
import time

ALL = 0x0003
OUTGOING = 4


def device(name):
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    opened.bind((name, ALL))
    opened.setblocking(False)
    return opened


def main():
    ends = [device(sys.argv[1]), device(sys.argv[2])]
    delay, jitter = float(sys.argv[3]) / 1000, float(sys.argv[4]) / 1000
    waiting, number = [], 0
    selector = selectors.DefaultSelector()
    for place, end in enumerate(ends):
        selector.register(end, selectors.EVENT_READ, place)
    print("ready", flush=True)
    while True:
        until = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in selector.select(until):
            while True:
                try:
                    frame, sender = key.fileobj.recvfrom(70000)
                except BlockingIOError:
                    break
                if sender[2] == OUTGOING:
                    continue
                number += 1
                due = time.monotonic() + delay + random.uniform(0, jitter)
                heapq.heappush(waiting, (due, number, 1 - key.data, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            try:
                ends[to].send(frame)
            except OSError:
                pass  # the device's queue is full: lost, as on a real way


main()
