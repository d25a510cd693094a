"""Cuts the chat layout and token ids out of the reference cases (shared/golden/README.md) into chats.jsonl.

    python make_chats.py SHARED_GOLDEN_DIR > chats.jsonl
"""
import json
import sys

NAMES = ["text", "system", "one", "two", "between", "tall", "turned", "turns", "video", "video_odd"]
for checkpoint in ["dense", "untied", "shapes-vl"]:
    for name in NAMES:
        case = json.load(open(f"{sys.argv[1]}/cases/{checkpoint}/{name}.json"))
        keys = ["messages", "prompt", "prompt_token_ids", "image_grid_thw", "video_grid_thw", "token_ids", "text", "top_logprobs"]
        kept = {key: case[key] for key in keys if key in case}
        kept["top_logprobs"] = kept["top_logprobs"][:1]
        print(json.dumps({"checkpoint": checkpoint, "name": name} | kept))
