"""Pictures that shared/golden/images lacks, with the pixels that Pillow 13 gives.

    pip install pillow==13.0.0 && python make_more_images.py    (writes images/more/ from images/)

images.jsonl and resize.jsonl as in images/; the latter with the target "size" [width, height] instead of pixel bounds.
"""
import json
import os

from PIL import Image

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
out = os.path.join(root, "more")
os.makedirs(out, exist_ok=True)
photo = Image.open(os.path.join(root, "expected", "baseline_444_jpg.png")).crop((20, 10, 65, 39))
listing, resizes = [], []


def expect(name, image, note):
    stem = name.replace(".", "_") + ".png"
    image.save(os.path.join(out, stem), optimize=True)
    listing.append({"file": name, "rgb": stem, "note": note})


def jpeg(name, note, **options):
    photo.save(os.path.join(out, name), quality=85, **options)
    expect(name, Image.open(os.path.join(out, name)).convert("RGB"), note)


jpeg("subsampled_411.jpg", "4:1:1", subsampling="4:1:1")
jpeg("restart.jpg", "a restart marker after each block", subsampling=0, restart_marker_blocks=1)

# Pillow cannot write YCCK: the same file with Adobe's transform 2. Pillow's values undo the inversion.
data = bytearray(open(os.path.join(root, "cmyk_adobe.jpg"), "rb").read())
data[data.index(b"Adobe") + 11] = 2
open(os.path.join(out, "ycck_adobe.jpg"), "wb").write(data)
ycck = Image.open(os.path.join(out, "ycck_adobe.jpg"))
assert ycck.mode == "CMYK"
values = ycck.tobytes()
rgb = bytes(((255 - values[i + c]) * (255 - values[i + 3]) + 127) // 255 for i in range(0, len(values), 4) for c in range(3))
expect("ycck_adobe.jpg", Image.frombytes("RGB", ycck.size, rgb), "YCCK with Adobe marker, inverted")

source = Image.open(os.path.join(root, "rgb8.png"))
for size in ((90, 55), (90, 54), (120, 74), (101, 75), (100, 60), (7, 75), (3, 2)):
    stem = f"rgb8_{size[0]}x{size[1]}.png"
    source.resize(size, Image.Resampling.BICUBIC).save(os.path.join(out, stem), optimize=True)
    resizes.append({"file": "rgb8.png", "size": size, "resized": stem})
for name, rows in (("images.jsonl", listing), ("resize.jsonl", resizes)):
    with open(os.path.join(out, name), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
