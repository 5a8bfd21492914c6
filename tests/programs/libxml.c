/* libxml.c - libxml2 with its hooks for collectors (xmlGcMemSetup) on twin.h: writes, parses, searches, edits, validates
 * and drops documents, XML and HTML, on the first thread and on another.
 * Usage:    libxml [DOCUMENTS]
 * Promises: when all documents are dropped, what is live is what was after the first, and 256 KiB at most; the last
 *           error of a thread that is not the first stays readable. */
#include <libxml/HTMLparser.h>
#include <libxml/HTMLtree.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlreader.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "twin.h"
#ifndef TWIN_MALLOC
#include "gc_alloc.h"
#endif

/* The hooks say which memory never holds pointers: xmlMallocAtomic is for the bytes of texts. */
static int hooks(void) { return xmlGcMemSetup(twin_free, twin_alloc, twin_alloc_noscan, twin_realloc, twin_strdup); }

/* Every other document is not freed at all where memory is collected. */
static bool frees(uint64_t number) { return !twin_collects || number % 2 == 0; }

/* -- building -- */
static void add_children(xmlNodePtr parent, xmlNsPtr space, uint64_t *random, int depth) {
  static const char *const names[] = {"item", "entry", "p", "div", "a"};
  uint64_t count = 2 + twin_random(random) % 5;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t draw = twin_random(random);
    char text[64];
    snprintf(text, sizeof text, "text \xc3\xa9 & <%llx>", (unsigned long long)draw);
    xmlNodePtr node = xmlNewTextChild(parent, draw % 3 == 0 ? space : NULL, BAD_CAST names[draw % 5], BAD_CAST text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(draw % 97));
    xmlNewProp(node, BAD_CAST "n", BAD_CAST text);
    if (draw % 11 == 0) xmlAddChild(node, xmlNewCDataBlock(node->doc, BAD_CAST "<&>", 3));
    if (depth > 0) add_children(node, space, random, depth - 1);
  }
}

static xmlChar *written(uint64_t number, int *length) {
  uint64_t random = number;
  xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
  xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "root");
  xmlDocSetRootElement(doc, root);
  xmlNsPtr space = xmlNewNs(root, BAD_CAST "urn:some:name", BAD_CAST "s");
  add_children(root, space, &random, 3);
  xmlChar *text;
  xmlDocDumpMemoryEnc(doc, &text, length, number % 3 == 0 ? "UTF-16" : "UTF-8");
  if (frees(number)) xmlFreeDoc(doc);
  return text;
}

/* -- reading -- */
static uint64_t searched(uint64_t digest, xmlDocPtr doc, bool free_them) {
  static const char *const paths[] = {"//item[@n > 40]", "//*[count(*) > 3]/@n", "//entry[last()]/p",
                                      "//s:item | //a[contains(., 'f')]"};
  xmlXPathContextPtr context = xmlXPathNewContext(doc);
  xmlXPathRegisterNs(context, BAD_CAST "s", BAD_CAST "urn:some:name");
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    xmlXPathObjectPtr found = xmlXPathEvalExpression(BAD_CAST paths[i], context);
    xmlChar *text = found == NULL ? NULL : xmlXPathCastToString(found);
    if (text == NULL) twin_fail("XPath: %s", paths[i]);
    int nodes = found->nodesetval == NULL ? 0 : found->nodesetval->nodeNr;
    digest = twin_digest(twin_digest(digest, &nodes, sizeof nodes), text, strlen((const char *)text));
    if (free_them) xmlFree(text), xmlXPathFreeObject(found);
  }
  if (free_them) xmlXPathFreeContext(context);
  return digest;
}

static uint64_t streamed(uint64_t digest, const xmlChar *text, int length, bool free_them) {
  xmlTextReaderPtr reader = xmlReaderForMemory((const char *)text, length, NULL, NULL, 0);
  while (xmlTextReaderRead(reader) == 1) {
    const xmlChar *name = xmlTextReaderConstName(reader), *words = xmlTextReaderConstValue(reader);
    digest = twin_digest(digest, name, strlen((const char *)name));
    if (words != NULL) digest = twin_digest(digest, words, strlen((const char *)words));
  }
  if (free_them) xmlFreeTextReader(reader);
  return digest;
}

static uint64_t dumped(uint64_t digest, xmlDocPtr doc, bool html, bool free_them) {
  xmlChar *text;
  int length;
  if (html)
    htmlDocDumpMemory(doc, &text, &length);
  else
    xmlDocDumpFormatMemory(doc, &text, &length, 1);
  digest = twin_digest(digest, text, (size_t)length);
  if (free_them) xmlFree(text);
  return digest;
}

static __attribute__((noinline)) uint64_t one(uint64_t digest, uint64_t number) {
  int length;
  bool free_them = frees(number);
  xmlChar *text = written(number, &length);
  xmlDocPtr doc = xmlReadMemory((const char *)text, length, "doc.xml", NULL, XML_PARSE_NONET);
  if (doc == NULL) twin_fail("document %llu does not parse", (unsigned long long)number);
  digest = searched(digest, doc, free_them);
  digest = streamed(digest, text, length, free_them);
  xmlNodePtr first = xmlFirstElementChild(xmlDocGetRootElement(doc)), copy = xmlDocCopyNode(first, doc, 1);
  xmlAddChild(xmlLastElementChild(xmlDocGetRootElement(doc)), copy);
  xmlUnlinkNode(first);
  if (free_them) xmlFreeNode(first);
  digest = dumped(digest, doc, false, free_them);
  xmlDocPtr page = htmlReadMemory((const char *)text, length, "page.html", number % 3 == 0 ? "UTF-16" : "UTF-8",
                                  HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING);
  if (page != NULL) digest = dumped(digest, page, true, free_them);
  if (free_them) xmlFree(text), xmlFreeDoc(doc), xmlFreeDoc(page);
  return digest;
}

static __attribute__((noinline)) uint64_t work(uint64_t digest, uint64_t from, uint64_t to, size_t *peak) {
  for (uint64_t i = from; i < to; i++) {
    digest = one(digest, i);
    if (twin_heap() > *peak) *peak = twin_heap();
  }
  xmlResetLastError(); /* it points to the parser and the node of the last error */
  return digest;
}

/* -- a thread's last error -- */

/* Other threads than the first have their globals, the last error among them, in a record from malloc (not from the
 * hooks): what only it refers to would be collected, were it not made a root. */
static void *fail_to_parse(void *arg) {
  uint64_t *digest = arg;
#ifndef TWIN_MALLOC
  xmlGlobalStatePtr globals = xmlGetGlobalState();
  if (globals == NULL || gc_add_roots(globals, globals + 1) != 0) twin_fail("no globals of the thread");
#endif
  static const char bad[] = "<root><unclosed attribute='1'></root>";
  xmlDocPtr doc = xmlReadMemory(bad, sizeof bad - 1, "bad.xml", NULL, XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  if (doc != NULL) twin_fail("a bad document parses");
  size_t peak = 0;
  twin_live();
  for (size_t i = 0; i < 60000; i++) { /* into the places of texts that were lost */
    char *other = twin_alloc_noscan(16 + i % 64);
    memset(other, '?', 15 + i % 64);
    other[15 + i % 64] = '\0';
    twin_free(other);
  }
  const xmlError *error = xmlGetLastError();
  *digest = twin_digest(*digest, error->message, strlen(error->message));
  *digest = twin_digest(*digest, error->file, strlen(error->file));
  printf("%s: line %d: %s", error->file, error->line, error->message);
  *digest = work(*digest, 0, 5, &peak);
  xmlResetLastError();
#ifndef TWIN_MALLOC
  gc_remove_roots(globals, globals + 1); /* the record is freed when the thread ends */
#endif
  return NULL;
}

int main(int argc, char **argv) {
  uint64_t digest = TWIN_DIGEST, documents = twin_number(argc, argv, 1, 1000);
  size_t peak = 0;
  pthread_t thread;
  if (hooks() != 0) twin_fail("xmlGcMemSetup");
  xmlInitParser();
  digest = work(digest, 0, 3, &peak); /* what libxml2 makes once and keeps */
  size_t before = twin_live();
  digest = work(digest, 3, documents, &peak);
  size_t after = twin_live();
  twin_heap_at_most("libxml: heap", peak, 48 << 20);
  twin_at_most("libxml: left", after > before ? after - before : 0, 256 << 10);
  if (pthread_create(&thread, NULL, fail_to_parse, &digest) != 0) twin_fail("no thread");
  pthread_join(thread, NULL);
  printf("%016llx\n", (unsigned long long)digest);
  xmlCleanupParser();
  return 0;
}
