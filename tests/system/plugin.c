/* plugin.c - a library that test_dlopen loads and unloads: words in its data and in its dynamic TLS.
 * Never: knows the collector. Built for dlopen, so its TLS comes from malloc when first used. */
#include <stddef.h>

/* The ways in; test_dlopen.c looks them up by name. */
void plugin_set_data(void *p);
void plugin_set_bss(void *p);
void plugin_set_tls(void *p);
void *plugin_get_data(void);
void *plugin_get_bss(void);
void *plugin_get_tls(void);

static char something[16] = "in the data";
static struct { void *before, *volatile word; } data = {something, NULL};
static void *volatile bss[100];
/* Large, so that it cannot fit in what the loader keeps ready for static TLS; larger in the plugin that is to take the module
 * id of another. */
#ifndef PLUGIN_GAP
#define PLUGIN_GAP 16384
#endif
static __thread struct {
  char gap[PLUGIN_GAP];
  void *volatile word;
} tls;

void plugin_set_data(void *p) { data.word = p; }
void plugin_set_bss(void *p) { bss[57] = p; }
void plugin_set_tls(void *p) { tls.word = p; }
void *plugin_get_data(void) { return data.word; }
void *plugin_get_bss(void) { return bss[57]; }
void *plugin_get_tls(void) { return tls.word; }
