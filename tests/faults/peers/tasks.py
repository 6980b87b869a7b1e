"""What the pools of Python are given to do, and the notes that tasks take independently of their pool."""

import os
import signal
import subprocess
import threading
import time


def note(path, what, number):
    """Appends a line, in one write."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{what} {number}\n".encode())
    os.close(file)


def noted(path, what):
    """The numbers noted under a word."""
    with open(path) as file:
        words = [line.split() for line in file.read().splitlines()]
    return [int(number) for word, number in words if word == what]


def double(number):
    return 2 * number


def nap(milliseconds, number):
    time.sleep(milliseconds / 1000)
    return number


class TwoArguments(Exception):
    """Pickles, but cannot be unpickled: an instance remembers one argument only."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def meet(fate, number):
    """The fourth task meets its fate."""
    time.sleep(0.05)
    if number != 3:
        return 0
    match fate:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            os._exit(0)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "two-arguments":
            raise TwoArguments("no", "licence")
        case "unpicklable":
            return threading.Lock()
        case "ignores-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def refuse(path):
    note(path, "start", os.getpid())
    raise ValueError("no licence")


def start_a_program(path):
    note(path, "grandchild", subprocess.Popen(["sleep", "1000"]).pid)


def stay(path, fault):
    """Notes the process, and that of a program it starts if it is to have one; never returns."""
    if fault == "parent-grandchildren":
        start_a_program(path)
    note(path, "worker", os.getpid())
    while True:
        pass


def take_three_seconds(path):
    note(path, "begin", 0)
    time.sleep(3)
    note(path, "end", 0)


def grow(number):
    return bytes([number % 256]) * 128
