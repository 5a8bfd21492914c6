/* options.c - see options.h. Everything is driven by the rows of options.def. */
#include "runtime/options.h"

#include <string.h>

#include "runtime/cgroup.h"
#include "runtime/os.h"
#include "runtime/print.h"

extern char **environ;

struct options options GC_OWN_DATA = {
#define OPT(field, env, kind, def, min, max, doc) .field = (def),
#define OPT_WORD(field, env, words, def, doc) .field = (def),
#define OPT_MEMORY(field, env, doc) .field = UINT64_MAX,
#include "runtime/options.def"
#undef OPT
#undef OPT_WORD
#undef OPT_MEMORY
};

enum kind { INT, PERCENT, WORD, MEMORY };

struct parser {
  enum kind kind;
  long min, max;
  void *value; /* int, or of a MEMORY uint64_t */
};

#define FORM_INT(min, max) "a number from " #min " to " #max
#define FORM_PERCENT(min, max) "off, or a number from " #min " to " #max
const struct option_row option_rows[] = {
#define OPT(field, env, kind, def, min, max, doc) {env, FORM_##kind(min, max), doc, def},
#define OPT_WORD(field, env, words, def, doc) {env, words, doc, def},
#define OPT_MEMORY(field, env, doc) {env, FORM_MEMORY, doc, 0},
#include "runtime/options.def"
#undef OPT
#undef OPT_WORD
#undef OPT_MEMORY
};
const size_t option_row_count = sizeof option_rows / sizeof option_rows[0];

static const struct parser parsers[] = {
#define OPT(field, env, kind, def, min, max, doc) {kind, min, max, &options.field},
#define OPT_WORD(field, env, words, def, doc) {WORD, 0, 0, &options.field},
#define OPT_MEMORY(field, env, doc) {MEMORY, 0, 0, &options.field},
#include "runtime/options.def"
#undef OPT
#undef OPT_WORD
#undef OPT_MEMORY
};

static bool parse_number(const char *text, long min, long max, int *value) {
  long v = 0;
  if (*text == '\0') return false;
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9' || v > max) return false;
    v = v * 10 + (*text - '0');
  }
  if (v < min || v > max) return false;
  *value = (int)v;
  return true;
}

/* words is "a|b|c"; the value is the place of text among them. */
static bool parse_word(const char *text, const char *words, int *value) {
  size_t n = strlen(text);
  for (int place = 0;; place++) {
    const char *end = strchr(words, '|');
    size_t length = end != NULL ? (size_t)(end - words) : strlen(words);
    if (length == n && memcmp(words, text, n) == 0) {
      *value = place;
      return true;
    }
    if (end == NULL) return false;
    words = end + 1;
  }
}

/* 1, or what a suffix multiplies by; 0: it is none. */
static uint64_t suffix_factor(const char *text) {
  static const char letters[] = "KMGT";
  uint64_t factor = 1;
  if (*text == '\0' || strcmp(text, "B") == 0) return 1;
  for (const char *l = letters; *l != '\0'; l++) {
    factor *= KIB;
    if (*text == *l && (text[1] == '\0' || strcmp(text + 1, "iB") == 0)) return factor;
  }
  return 0;
}

/* 1 to 100, then %. */
static bool parse_share(const char *text, uint64_t *whole, uint64_t (*find)(void)) {
  char digits[4] = {0};
  int share;
  size_t n = strcspn(text, "%");
  if (n > 3 || strcmp(text + n, "%") != 0) return false;
  memcpy(digits, text, n);
  if (!parse_number(digits, 1, 100, &share)) return false;
  *whole = find() / 100 * (uint64_t)share;
  return true;
}

static bool parse_memory(const char *text, uint64_t *value) {
  uint64_t v = 0, factor;
  if (strcmp(text, "off") == 0) {
    *value = UINT64_MAX;
    return true;
  }
  if (strncmp(text, "cgroup:", 7) == 0) return parse_share(text + 7, value, cgroup_memory);
  if (strchr(text, '%') != NULL) return parse_share(text, value, os_physical_memory);
  for (; *text >= '0' && *text <= '9'; text++) {
    if (v > UINT64_MAX / 10 - 1) return false;
    v = v * 10 + (uint64_t)(*text - '0');
  }
  factor = suffix_factor(text);
  if (v == 0 || factor == 0 || v > (UINT64_MAX >> 1) / factor) return false;
  *value = v * factor;
  return true;
}

static bool parse(const struct parser *p, const char *form, const char *text) {
  if (p->kind == MEMORY) return parse_memory(text, p->value);
  if (p->kind == WORD) return parse_word(text, form, p->value);
  if (p->kind == PERCENT && strcmp(text, "off") == 0) {
    *(int *)p->value = -1;
    return true;
  }
  return parse_number(text, p->min, p->max, p->value);
}

/* Other collectors read GC_ variables too; these are theirs, and setting them is no mistake. */
static bool belongs_to_others(const char *name, size_t n) {
  static const char *const theirs[] = {
      "GC_INITIAL_HEAP_SIZE",
      "GC_MAXIMUM_HEAP_SIZE",
      "GC_PRINT_STATS",
      "GC_PRINT_VERBOSE_STATS",
      "GC_LOG_FILE",
      "GC_ONLY_LOG_TO_FILE",
      "GC_QUIET",
      "GC_DONT_GC",
      "GC_FREE_SPACE_DIVISOR",
      "GC_NPROCS",
      "GC_ENABLE_INCREMENTAL",
      "GC_DISABLE_INCREMENTAL",
      "GC_PAUSE_TIME_TARGET",
      "GC_FULL_FREQUENCY",
      "GC_LOOP_ON_ABORT",
      "GC_DUMP_REGULARLY",
      "GC_COLLECT_AT_MALLOC",
      "GC_BACKTRACES",
      "GC_PRINT_ADDRESS_MAP",
      "GC_PRINT_BACK_HEIGHT",
      "GC_NO_BLACKLIST_WARNING",
      "GC_LARGE_ALLOC_WARN_INTERVAL",
      "GC_IGNORE_GCJ_INFO",
      "GC_RETRY_SIGNALS",
      "GC_USE_GETWRITEWATCH",
      "GC_UNMAP_THRESHOLD",
      "GC_FORCE_UNMAP_ON_GCOLLECT",
      "GC_FIND_LEAK",
      "GC_FINDLEAK_DELAY_FREE",
      "GC_ABORT_ON_LEAK",
      "GC_ALL_INTERIOR_POINTERS",
      "GC_USE_ENTIRE_HEAP",
  };
  for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++)
    if (strlen(theirs[i]) == n && memcmp(theirs[i], name, n) == 0) return true;
  return false;
}

static void read_one(const char *entry) {
  const char *equals = strchr(entry, '=');
  if (equals == NULL) return;
  size_t n = (size_t)(equals - entry);
  for (size_t i = 0; i < option_row_count; i++) {
    const struct option_row *row = &option_rows[i];
    if (strlen(row->env) != n || memcmp(row->env, entry, n) != 0) continue;
    if (!parse(&parsers[i], row->form, equals + 1))
      print_line("holdfast: %s=%s is ignored: it takes %s", row->env, equals + 1, row->form);
    return;
  }
  if (belongs_to_others(entry, n)) return;
  char name[64];
  size_t keep = min_size(n, sizeof name - 1);
  memcpy(name, entry, keep);
  name[keep] = '\0';
  print_line("holdfast: unknown option %s is ignored: docs/tuning.md lists the GC_ options and their forms", name);
}

void options_read(void) {
  for (char **e = environ; e != NULL && *e != NULL; e++)
    if (strncmp(*e, "GC_", 3) == 0) read_one(*e);
}
