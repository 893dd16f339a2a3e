#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A process that serves a folder of shared weights, and tells all who come of memory that is
none of theirs to use.

usage: impostor.py FOLDER DEVICE KIND READY

It learns from who serves what the units are, and says so by making the file READY.learned; when
the other is gone it takes its place, and makes READY. KIND: memfd (sealed, of the right size),
udmabuf (of the right size) or size (a buffer of the device, a page too large). It ends when it
has told one, which has left.
"""
import array
import fcntl
import glob
import os
import socket
import struct
import sys
import time

MESSAGE = struct.Struct("=16sQQ")
ALL = 2**64 - 1
PAGE = 4096


def iowr(number, size):
    return 3 << 30 | size << 16 | ord("d") << 8 | number


def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    return s


def learn(path):
    """The name, and the size of each unit."""
    s = connect(path)
    units = {}
    while True:
        data, fds, _, _ = socket.recv_fds(s, MESSAGE.size, 1)
        for fd in fds:
            os.close(fd)
        name, unit, size = MESSAGE.unpack(data)
        if unit == ALL:
            break
        units[unit] = size
    return s, name, units


def memfd(size, seals):
    fd = os.memfd_create("impostor", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def buffer(device, size):
    arg = bytearray(struct.pack("=QII", size, 0, 0))
    fcntl.ioctl(device, iowr(0x41, len(arg)), arg)
    arg = bytearray(struct.pack("=IIi", struct.unpack("=QII", arg)[2], os.O_CLOEXEC, 0))
    fcntl.ioctl(device, iowr(0x2d, len(arg)), arg)
    return struct.unpack("=IIi", arg)[2]


def descriptor(kind, device, size):
    if kind == "memfd":
        return memfd(size, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW |
                     fcntl.F_SEAL_SEAL)
    if kind == "size":
        return buffer(device, size + PAGE)
    file = memfd(size, fcntl.F_SEAL_SHRINK)
    with open("/dev/udmabuf", "rb") as u:
        made = fcntl.ioctl(u, ord("u") << 8 | 0x42 | 1 << 30 | 24 << 16,
                           bytearray(struct.pack("=IIQQ", file, 1, 0, size)))
    os.close(file)
    return made


def serve(path, name, units, kind, device, ready):
    with open(path + ".lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.unlink(path)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(path)
        s.listen()
        with open(ready, "w", encoding="ascii"):
            pass
        peer, _ = s.accept()
        for unit, size in units.items():
            fd = descriptor(kind, device, size)
            peer.sendmsg([MESSAGE.pack(name, unit, size)],
                         [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            os.close(fd)
        peer.sendmsg([MESSAGE.pack(name, ALL, 0)])
        # what it says does not matter
        while True:
            data, fds, _, _ = socket.recv_fds(peer, MESSAGE.size, 1)
            for fd in fds:
                os.close(fd)
            if not data:
                return


def main():
    folder, device, kind, ready = sys.argv[1:]
    device = os.open(device, os.O_RDWR)
    while not (found := glob.glob(folder + "/linnet-*[!k]")):
        time.sleep(0.1)
    s, name, units = learn(found[0])
    if not units:
        sys.exit("impostor: who serves has nothing")
    with open(ready + ".learned", "w", encoding="ascii"):
        pass
    # until it is gone
    try:
        while s.recv(MESSAGE.size):
            pass
    except ConnectionResetError:
        pass
    s.close()
    serve(found[0], name, units, kind, device, ready)


main()
