#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Make thumbnails: a job is an image file's name, its result name, size and bytes of the thumbnail.

    thumbs.py DIRECTORY < names          a worker: a line in, a line out, for ever
    thumbs.py DIRECTORY FILE             the same work as an ordinary program: once
"""
import os
import sys

from PIL import Image, ImageFilter, ImageOps

Image.init()  # all file formats


def thumbnail(path, directory):
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGBA")
    image.thumbnail((96, 96), Image.LANCZOS)
    image = image.filter(ImageFilter.UnsharpMask(1, 60, 2))
    target = os.path.join(directory, os.path.basename(path) + ".png")
    image.save(target)
    return f"{os.path.basename(path)} {image.width}x{image.height} {os.path.getsize(target)}"


def worker(directory):
    for line in sys.stdin:
        try:
            print("OK", thumbnail(line.rstrip("\n"), directory), flush=True)
        except Exception as why:
            print("ERR", *str(why).split(), flush=True)  # on one line


def once(directory, path):
    try:
        print(thumbnail(path, directory))
    except Exception as why:
        sys.exit(f"{path}: {why}")


if len(sys.argv) == 2:
    worker(sys.argv[1])
elif len(sys.argv) == 3:
    once(sys.argv[1], sys.argv[2])
else:
    sys.exit(__doc__)
