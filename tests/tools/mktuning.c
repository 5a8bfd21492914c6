/* mktuning.c - makes docs/tuning.md from runtime/options.def: `make generate`. */
#include <stdio.h>
#include <string.h>

struct row {
  const char *env, *form, *doc;
  int initial;
};

#define FORM_INT(min, max) "a number from " #min " to " #max
#define FORM_PERCENT(min, max) "`off`, or a number from " #min " to " #max
#define MEMORY "`off`, bytes (a suffix K, M, G, T or KiB to TiB multiplies), N% of the machine's memory, or cgroup:N%"
static const struct row rows[] = {
#define OPT(field, env, kind, def, min, max, doc) {env, FORM_##kind(min, max), doc, def},
#define OPT_WORD(field, env, words, def, doc) {env, words, doc, def},
#define OPT_MEMORY(field, env, doc) {env, MEMORY, doc, 0},
#include "runtime/options.def"
};

/* The def-th of the words "a|b|c", or the number. */
static void print_default(const struct row *r, int is_word) {
  const char *p = r->form;
  if (strcmp(r->form, MEMORY) == 0) {
    printf("off");
    return;
  }
  if (!is_word) {
    printf("%d", r->initial);
    return;
  }
  for (int i = 0; i < r->initial; p++) i += *p == '|';
  while (*p != '\0' && *p != '|') putchar(*p++);
}

int main(void) {
  printf(
      "# Options\n\nRead once from the environment when the library loads. Made from `runtime/options.def`; do not "
      "edit.\n"
      "A malformed value or an unknown `GC_` variable gets one line on stderr, and the default stays.\n\n"
      "| variable | takes | default | what it does |\n| --- | --- | --- | --- |\n");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int is_word = rows[i].form[0] != 'a' && rows[i].form[0] != '`';
    printf("| `%s` | ", rows[i].env);
    for (const char *p = rows[i].form; *p != '\0'; p++) printf(*p == '|' ? " or " : "%c", *p);
    printf(" | ");
    print_default(&rows[i], is_word);
    printf(" | %s |\n", rows[i].doc);
  }
  return 0;
}
