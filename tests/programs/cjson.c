/* cjson.c - cJSON with its hooks on twin.h: builds, prints, parses, edits and drops documents.
 * Usage:    cjson [DOCUMENTS]
 * Promises: when all documents are dropped, what is live is what was before the first, and 128 KiB at most: less
 *           than three documents, which stale words may keep. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "twin.h"

static cJSON *value(uint64_t *random, int depth) {
  uint64_t draw = twin_random(random);
  char text[64];
  switch (draw % (depth > 0 ? 8 : 5)) {
    case 0: return cJSON_CreateNumber((double)(int32_t)(draw >> 16));
    case 1: return cJSON_CreateNumber((double)(draw >> 11) / 1024);
    case 2: return cJSON_CreateBool((draw & 256) != 0);
    case 3: return cJSON_CreateNull();
    case 4:
      snprintf(text, sizeof text, "t\xc3\xa4xt \"%llx\"\n", (unsigned long long)draw);
      return cJSON_CreateString(text);
    default: break;
  }
  bool object = (draw & 512) != 0;
  cJSON *item = object ? cJSON_CreateObject() : cJSON_CreateArray();
  for (uint64_t i = 0; i < 2 + (draw >> 32) % 8; i++) {
    snprintf(text, sizeof text, "k%llu-%d", (unsigned long long)i, depth);
    if (object)
      cJSON_AddItemToObject(item, text, value(random, depth - 1));
    else
      cJSON_AddItemToArray(item, value(random, depth - 1));
  }
  return item;
}

/* An object of eight values. */
static cJSON *document(uint64_t number) {
  cJSON *root = cJSON_CreateObject();
  uint64_t random = number;
  char name[32];
  cJSON_AddNumberToObject(root, "number", (double)number);
  for (int i = 0; i < 8; i++) {
    snprintf(name, sizeof name, "member %d", i);
    cJSON_AddItemToObject(root, name, value(&random, 4));
  }
  return root;
}

/* What a program that collects does not call at all, for every other document; then the parts are found dead one
 * by one instead of being given to twin_free. */
static void drop(cJSON *item, uint64_t number) {
  if (!twin_collects || number % 2 == 0) cJSON_Delete(item);
}
static void drop_text(char *text, uint64_t number) {
  if (!twin_collects || number % 2 == 0) cJSON_free(text);
}

/* Through text and back, with some members replaced, duplicated and taken out. */
static uint64_t round_trip(uint64_t digest, uint64_t number) {
  cJSON *built = document(number);
  char *text = cJSON_PrintUnformatted(built);
  cJSON *parsed = cJSON_Parse(text);
  if (parsed == NULL || !cJSON_Compare(built, parsed, 1))
    twin_fail("document %llu is not what was printed", (unsigned long long)number);
  cJSON_ReplaceItemInObject(parsed, "member 1", cJSON_Duplicate(cJSON_GetObjectItem(built, "member 2"), 1));
  cJSON_AddItemToObject(parsed, "more", cJSON_DetachItemFromObject(built, "member 3"));
  cJSON_DeleteItemFromObject(parsed, "member 4");
  char *formatted = cJSON_Print(parsed);
  digest = twin_digest(digest, text, strlen(text));
  digest = twin_digest(digest, formatted, strlen(formatted));
  drop_text(text, number);
  drop_text(formatted, number);
  drop(parsed, number);
  drop(built, number);
  return digest;
}

static __attribute__((noinline)) uint64_t work(unsigned long documents) {
  static cJSON *kept[16]; /* the youngest but one of each sixteen lives on for a while: static data are roots */
  uint64_t digest = TWIN_DIGEST;
  size_t peak = 0;
  for (uint64_t i = 0; i < documents; i++) {
    digest = round_trip(digest, i);
    cJSON **place = &kept[i % 16];
    if (*place != NULL) {
      char *text = cJSON_PrintUnformatted(*place);
      digest = twin_digest(digest, text, strlen(text));
      drop_text(text, i);
      drop(*place, i);
    }
    *place = document(i);
    if (twin_heap() > peak) peak = twin_heap();
  }
  for (uint64_t i = 0; i < 16; i++) {
    if (kept[i] != NULL) drop(kept[i], i);
    kept[i] = NULL;
  }
  twin_heap_at_most("cjson: heap", peak, 24 << 20);
  return digest;
}

int main(int argc, char **argv) {
  cJSON_Hooks hooks = {twin_alloc, twin_free};
  cJSON_InitHooks(&hooks);
  size_t before = twin_live();
  printf("%016llx\n", (unsigned long long)work(twin_number(argc, argv, 1, 2000)));
  twin_at_most("cjson: left", twin_live() - before, 128 << 10);
  return 0;
}
