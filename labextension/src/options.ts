/** The words of a %%guard line. Written by mlguard_nb/policy/page.py from the OPTIONS table: do not edit. */

/** One word: what it takes ("" for a bare word, `choices` where it is one of a few), and what it stands for. */
export interface GuardOption {
  readonly word: string;
  readonly part: string;
  readonly takes: string;
  readonly choices: readonly string[];
  readonly standsAlone: boolean;
  readonly fallback: string;
  readonly example: string;
  readonly help: string;
  readonly requires: readonly string[];
}

export const OPTIONS: readonly GuardOption[] = [
  {
    word: "retry",
    part: "retry",
    takes: "COUNT",
    choices: [],
    standsAlone: true,
    fallback: "3",
    example: "3",
    help: "calls in all; after a failure the cell runs again from its first line",
    requires: []
  },
  {
    word: "wait",
    part: "retry",
    takes: "FIRST[..MOST]",
    choices: [],
    standsAlone: false,
    fallback: "0.5s..20s",
    example: "1s..30s",
    help: "bounds of the wait between attempts, with full jitter between them",
    requires: ["retry"]
  },
  {
    word: "on",
    part: "retry",
    takes: "TYPE,...",
    choices: [],
    standsAlone: false,
    fallback: "Exception but programming errors",
    example: "TimeoutError,ConnectionError",
    help: "which exceptions are tried again",
    requires: ["retry"]
  },
  {
    word: "oom",
    part: "retry",
    takes: "fail|clear|halve:NAME",
    choices: [],
    standsAlone: false,
    fallback: "fail",
    example: "halve:batch_size",
    help: "after an out-of-memory: give up, free what can be freed and try again, or halve that input each time",
    requires: ["retry"]
  },
  {
    word: "deadline",
    part: "retry",
    takes: "DURATION",
    choices: [],
    standsAlone: false,
    fallback: "none",
    example: "10m",
    help: "end of all attempts, inherited by nested calls",
    requires: ["retry"]
  },
  {
    word: "timeout",
    part: "retry",
    takes: "DURATION",
    choices: [],
    standsAlone: false,
    fallback: "none",
    example: "30s",
    help: "longest time for one attempt",
    requires: ["retry"]
  },
  {
    word: "mem",
    part: "memory",
    takes: "SHARE|SIZE",
    choices: [],
    standsAlone: true,
    fallback: "0.8",
    example: "0.8",
    help: "ceiling for the container's (else the machine's) memory in use",
    requires: []
  },
  {
    word: "gpu",
    part: "memory",
    takes: "SHARE|SIZE",
    choices: [],
    standsAlone: false,
    fallback: "none",
    example: "0.9",
    help: "ceiling for each visible GPU's memory in use",
    requires: []
  },
  {
    word: "need",
    part: "memory",
    takes: "SIZE",
    choices: [],
    standsAlone: false,
    fallback: "none",
    example: "2GB",
    help: "what the cell will ask for: reserved before it starts",
    requires: ["mem", "gpu"]
  },
  {
    word: "device",
    part: "memory",
    takes: "INDEX|UUID",
    choices: [],
    standsAlone: false,
    fallback: "the visible ones",
    example: "0",
    help: "which GPU, as the framework counts them, or by UUID",
    requires: ["gpu", "need"]
  },
  {
    word: "at",
    part: "memory",
    takes: "stop|wait|warn|skip",
    choices: ["stop", "wait", "warn", "skip"],
    standsAlone: false,
    fallback: "stop",
    example: "wait",
    help: "what happens when memory is short",
    requires: ["mem", "gpu"]
  },
  {
    word: "patience",
    part: "memory",
    takes: "DURATION",
    choices: [],
    standsAlone: false,
    fallback: "30s",
    example: "30s",
    help: "longest wait for memory",
    requires: ["mem", "gpu"]
  },
  {
    word: "fallback",
    part: "memory",
    takes: "FUNCTION",
    choices: [],
    standsAlone: false,
    fallback: "none",
    example: "fit_on_cpu",
    help: "called instead of stopping when memory is short",
    requires: ["mem", "gpu"]
  },
  {
    word: "cache",
    part: "cache",
    takes: "DURATION",
    choices: [],
    standsAlone: true,
    fallback: "5m",
    example: "1h",
    help: "keep what the cell binds and shows, by its code and the values it reads",
    requires: []
  },
  {
    word: "key",
    part: "cache",
    takes: "NAME,...",
    choices: [],
    standsAlone: false,
    fallback: "all inputs",
    example: "path,seed",
    help: "the inputs that count for the key",
    requires: ["cache"]
  },
  {
    word: "store",
    part: "cache",
    takes: "memory|disk|redis://...",
    choices: [],
    standsAlone: false,
    fallback: "memory",
    example: "disk",
    help: "where results are kept; disk survives the kernel",
    requires: ["cache"]
  },
  {
    word: "validate",
    part: "validate",
    takes: "NAME:SCHEMA,...",
    choices: [],
    standsAlone: true,
    fallback: "every learned schema that fits by name",
    example: "batch:Features",
    help: "check inputs before the cell runs",
    requires: []
  },
  {
    word: "monitor",
    part: "monitor",
    takes: "",
    choices: [],
    standsAlone: true,
    fallback: "off",
    example: "",
    help: "metrics, logs and traces",
    requires: []
  },
  {
    word: "name",
    part: "",
    takes: "WORD",
    choices: [],
    standsAlone: false,
    fallback: "the cell's heading",
    example: "train",
    help: "names the step everywhere",
    requires: []
  },
  {
    word: "scope",
    part: "cell",
    takes: "cell|defs|both",
    choices: ["cell", "defs", "both"],
    standsAlone: false,
    fallback: "defs if the cell only defines",
    example: "defs",
    help: "guard the cell's run, the functions it defines, or both",
    requires: []
  },
  {
    word: "view",
    part: "cell",
    takes: "live|line|off",
    choices: ["live", "line", "off"],
    standsAlone: false,
    fallback: "live",
    example: "line",
    help: "the view below the cell",
    requires: []
  },
  {
    word: "overcommit",
    part: "cell",
    takes: "",
    choices: [],
    standsAlone: true,
    fallback: "off",
    example: "",
    help: "let the cell reserve more than it touches (sparse arrays): stop by signal only",
    requires: ["mem", "gpu"]
  },
  {
    word: "refresh",
    part: "cell",
    takes: "",
    choices: [],
    standsAlone: true,
    fallback: "off",
    example: "",
    help: "run once although the cache has a result",
    requires: ["cache"]
  }
];
