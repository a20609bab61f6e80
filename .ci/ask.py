"""Asks a running app for one analysis, as a script of a visitor would; waits up to a minute."""

import sys
import time

import httpx
from gradio.media import get_image
from gradio_client import Client, handle_file


def main(url: str) -> None:
    """Analyses the cheetah and checks that the answer hangs together."""
    began = time.monotonic()
    while True:
        try:
            httpx.get(url, timeout=2)
            break
        except httpx.TransportError:
            if time.monotonic() - began > 60:
                raise
            time.sleep(0.2)
    client = Client(url, verbose=False)
    names = ["cheetah", "lion", "dog", "house"]
    for attempt in ("first", "second"):
        answer = client.predict(
            image=handle_file(get_image("cheetah.jpg")),
            classes=", ".join(names),
            backbone="mini",
            prompts="caltech101-drople",
            seed=0,
            api_name="/analyse",
        )
        print(f"{attempt} answer {time.monotonic() - began:.1f} s after the start")
    assert answer["classes"] == names, answer["classes"]
    for condition in ("frozen", "adapted", "vanilla", "iwtd"):
        total = sum(answer["predictions"][condition]["probabilities"])
        assert abs(total - 1) < 1e-4, (condition, total)
        assert len(answer["layers"][condition]) == 12
    print({name: max(said["probabilities"]) for name, said in answer["predictions"].items()})


if __name__ == "__main__":
    main(sys.argv[1])
