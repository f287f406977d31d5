"""`palgan web` as a process: hostile uploads, a port that is taken, and its end."""

import random
import signal
import socket

import httpx2

from palgan_jax.cli import main
from tests.support.fuzz import damaged
from tests.support.fuzz_pictures import sound_files
from tests.support.picture_files import RGB, encoded
from tests.support.web_page import serving

MUTANTS = 200


def test_hostile_uploads_end_in_words_and_the_server_lives(server):
    address, process = server
    files = sound_files()
    sound = [files[name] for name in sorted(files)]
    refusals = 0
    with httpx2.Client(base_url=address, timeout=300) as client:
        for number in range(MUTANTS):
            chance = random.Random(number)
            data = damaged(chance.choice(sound), sound, chance)
            answer = client.post(f"/api/pictures?name=mutant-{number}", content=data)
            assert answer.status_code in (200, 400), (number, answer.status_code, answer.text)
            if answer.status_code == 400:
                refusals += 1
                text = answer.json()["error"]
                assert f"mutant-{number}" in text and text.endswith(".") and "\n" not in text
        assert 0.2 < refusals / MUTANTS < 0.95
        assert client.post("/api/pictures?name=sound.png", content=encoded(RGB, "PNG")).status_code == 200
    assert process.poll() is None


def test_a_port_that_is_taken_is_one_sentence(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["web", "--port", str(port)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"port {port}" in lines[0] and "--port" in lines[0]


def test_it_listens_on_this_machine_alone_and_ends_quietly(checkpoint):
    with serving("--checkpoint", str(checkpoint)) as (address, process):
        port = int(address.rpartition(":")[2])
        with socket.socket(socket.AF_INET6) as other:
            assert other.connect_ex(("::1", port)) != 0
        with httpx2.Client(base_url=address) as client:
            assert client.get("/api/model").status_code == 200
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert err == "" and "Traceback" not in out
