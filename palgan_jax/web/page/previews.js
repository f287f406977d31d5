// Previews that follow what is chosen: one at a time is asked for, then the newest, and at rest a sharper one.

const REST = 350; // milliseconds without a change

export class Previews {
  /**
   * engine: paints. sides: [thumbnail, moving, rest], the longer sides of previews.
   * actions: show(shown), fail(error), busy(bool), and rest(bool): whether what is shown is all that was asked for.
   */
  constructor(engine, actions) {
    this.engine = engine;
    [this.thumbnail, this.moving, this.rest] = engine.model.sides;
    this.actions = actions;
  }

  /** Begins with another picture: what was asked for the last one is given up. */
  open(picture) {
    this.abort?.abort();
    this.abort = new AbortController();
    this.picture = picture;
    this.wanted = null;
    clearTimeout(this.timer);
    this.isLarger = Math.max(picture.width, picture.height) > this.moving;
  }

  /** Asks for a preview of a wish. */
  want(wish) {
    clearTimeout(this.timer);
    this.actions.rest(false);
    this.wanted = wish;
    if (!this.running) this.run();
  }

  async run() {
    this.running = true;
    while (this.wanted) {
      const [wish, picture] = [this.wanted, this.picture];
      this.wanted = null;
      await this.paint(picture, wish, this.moving);
      if (this.wanted || picture !== this.picture) continue;
      if (this.isLarger) this.timer = setTimeout(() => this.sharpen(picture, wish), REST);
      else this.actions.rest(true);
    }
    this.running = false;
  }

  async sharpen(picture, wish) {
    if (this.running || this.wanted || picture !== this.picture) return;
    const isStillWanted = () => !this.running && !this.wanted && picture === this.picture;
    await this.paint(picture, wish, this.rest, isStillWanted);
    if (isStillWanted()) this.actions.rest(true);
  }

  async paint(picture, wish, side, isStillWanted = () => picture === this.picture) {
    const slow = setTimeout(() => this.actions.busy(true), 600);
    try {
      const shown = await this.engine.preview(picture, wish, side, "main", this.abort.signal);
      if (shown && isStillWanted()) await this.actions.show(shown);
    } catch (error) {
      if (error.name !== "AbortError" && picture === this.picture) this.actions.fail(error);
    } finally {
      clearTimeout(slow);
      this.actions.busy(false);
    }
  }
}
