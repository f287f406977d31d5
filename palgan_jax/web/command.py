"""`palgan web`: a page to colorize photographs with, on this machine alone, or as a folder for any web server."""

import argparse
import shlex

from palgan_jax.errors import ExitCode, UserError
from palgan_jax.util.files import expand_home, user_path

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan web`."""
    parser.add_argument(
        "--port", type=_port, metavar="N", help=f"of this machine (default: {PORT}; 0: any that is free)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        type=expand_home,
        help="a training run's folder or a .safetensors file (default: the weights that come with the package)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--static",
        metavar="DIR",
        type=user_path,
        help="serve nothing, and write a folder that any web server can offer: the browser does all of the work",
    )
    parser.add_argument(
        "--runtime",
        metavar="FILE.tgz",
        type=user_path,
        help="with --static: the package onnxruntime-web of npm, which is downloaded otherwise",
    )
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: choose one from 1024 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C, or writes it. Raises UserError for options that contradict each other."""
    if args.static is None:
        if args.runtime is not None:
            raise UserError("--runtime belongs to a page without a server: name its folder with --static.")
        return _serve(args)
    if args.open or args.port is not None:
        raise UserError("--static serves nothing: leave --open and --port out.")
    return _write(args)


def _write(args: argparse.Namespace) -> int:
    from palgan_jax.checkpoint.find import find_weights
    from palgan_jax.util.text import in_words
    from palgan_jax.web.static_page import check_folder, write_page

    check_folder(args.static)  # before what takes a while
    weights = find_weights(args.checkpoint)
    size = write_page(args.static, weights, args.runtime)
    print(
        f"{args.static}: the page with {weights.source}, {in_words(size)}. To look at it: "
        f"python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(args.static))}"
    )
    return ExitCode.FINISHED


def _serve(args: argparse.Namespace) -> int:
    from palgan_jax.web.server import ADDRESS, listen, serve  # first of all, since it may lack its packages

    listener = listen(PORT if args.port is None else args.port)  # before the model is loaded, which takes a while

    from palgan_jax.util.compilation import keep_compiled_programs, no_garbage_collection

    with no_garbage_collection():
        from palgan_jax.checkpoint.find import find_weights
        from palgan_jax.colorize.engines import NAMES, choose_engine
        from palgan_jax.colorize.predictor import Colorizer
        from palgan_jax.util.signals import end_process
        from palgan_jax.web.app import Service, application

        weights = find_weights(args.checkpoint)
        engine = choose_engine("auto", weights)
        if engine == "jax":
            keep_compiled_programs()
        service = Service(Colorizer(weights, engine))
    url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
    print(f"Loaded {service.colorizer.source}, run by {NAMES[engine]}.\nThe page is at {url} until Ctrl-C.", flush=True)

    def announce() -> None:
        if args.open:
            import webbrowser

            webbrowser.open(url)
        service.warm_up()

    try:
        serve(application(service), listener, announce)
    except KeyboardInterrupt:
        end_process(ExitCode.INTERRUPTED)  # without waiting for a picture that is being painted
    return ExitCode.FINISHED
