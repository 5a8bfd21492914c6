/* sqlite.c - SQLite with its memory methods on twin.h: inserts, indexes, updates, deletes, joins, sorts, VACUUM, in
 * memory and in a file, by several threads at a time.
 * Usage:    sqlite [ROWS [THREADS]]; each thread has a database of its own, of ROWS rows.
 * Promises: integrity_check is "ok" after every phase; the heap stays within 3 times what SQLite itself counts as the
 *           most taken at a time (sqlite3_memory_highwater) and 8 MiB, and what is live in the end within that most and 1 MiB;
 *           where freed memory is cleared or freed, within a tenth and 1 MiB of what it counts as taken then
 *           (sqlite3_memory_used). */
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "twin.h"

/* -- memory methods -- */
static void *x_malloc(int n) { return twin_alloc((size_t)n); }
static void *x_realloc(void *p, int n) { return twin_realloc(p, (size_t)n); }
static int x_size(void *p) { return (int)twin_size(p); }
static int x_roundup(int n) { return (n + 7) & ~7; }
static int x_init(void *arg) { return (void)arg, SQLITE_OK; }
static void x_shutdown(void *arg) { (void)arg; }
static const sqlite3_mem_methods methods = {x_malloc,  twin_free, x_realloc,  x_size,
                                            x_roundup, x_init,    x_shutdown, NULL};

/* -- one thread's run -- */
struct run {
  pthread_t thread;
  unsigned long rows;
  uint64_t random, digest;
  size_t heap_peak; /* of twin_heap, seen between statements */
  bool in_file;
  sqlite3 *db;
};

static void sample(struct run *r) {
  size_t heap = twin_heap();
  if (heap > r->heap_peak) r->heap_peak = heap;
}

static int digest_row(void *arg, int columns, char **values, char **names) {
  struct run *r = arg;
  (void)names;
  for (int i = 0; i < columns; i++)
    r->digest = twin_digest(r->digest, values[i] ? values[i] : "", values[i] ? strlen(values[i]) + 1 : 1);
  return 0;
}

static void sql(struct run *r, const char *text) {
  char *message = NULL;
  if (sqlite3_exec(r->db, text, digest_row, r, &message) != SQLITE_OK) twin_fail("%s: %s", text, message);
  sample(r);
}

/* A prepared statement run rows times: key, a number, a text of up to 79 characters, a blob of random words. */
static void fill(struct run *r, const char *text, unsigned long from, unsigned long to) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(r->db, text, -1, &statement, NULL) != SQLITE_OK) twin_fail("%s", sqlite3_errmsg(r->db));
  for (unsigned long i = from; i < to; i++) {
    uint64_t words[16];
    char name[80];
    size_t n = 8 + twin_random(&r->random) % 72;
    for (size_t k = 0; k < 16; k++) words[k] = twin_random(&r->random);
    for (size_t k = 0; k < n; k++) name[k] = (char)('a' + ((const unsigned char *)words)[k] % 26);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)i);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)(words[0] % 100000));
    sqlite3_bind_text(statement, 3, name, (int)n, SQLITE_TRANSIENT);
    sqlite3_bind_blob(statement, 4, words, (int)(words[1] % sizeof words), SQLITE_TRANSIENT);
    if (sqlite3_step(statement) != SQLITE_DONE) twin_fail("insert: %s", sqlite3_errmsg(r->db));
    sqlite3_reset(statement);
    if (i % 4096 == 0) sample(r);
  }
  sqlite3_finalize(statement);
}

static void integrity(struct run *r) {
  sqlite3_stmt *statement;
  sqlite3_prepare_v2(r->db, "PRAGMA integrity_check", -1, &statement, NULL);
  if (sqlite3_step(statement) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
    twin_fail("integrity_check: %s", (const char *)sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
}

static void work(struct run *r) {
  sql(r,
      "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, name TEXT, data BLOB);"
      "CREATE TABLE u(id INTEGER, n INTEGER, name TEXT, data BLOB, PRIMARY KEY(n, id)) WITHOUT ROWID; BEGIN");
  fill(r, "INSERT INTO t VALUES(?,?,?,?)", 0, r->rows);
  fill(r, "INSERT INTO u VALUES(?,?,?,?)", 0, r->rows / 4);
  sql(r, "COMMIT; CREATE INDEX t_n ON t(n); CREATE INDEX t_name ON t(name, n)");
  integrity(r);
  sql(r,
      "SELECT count(*), sum(n), min(name), max(name) FROM t WHERE n BETWEEN 1000 AND 60000;"
      "SELECT name, n, hex(data) FROM t ORDER BY substr(name, 3), id LIMIT 200;"
      "SELECT t.name, u.name FROM t JOIN u ON u.n = t.n ORDER BY t.id, u.id LIMIT 500;"
      "SELECT substr(name, 1, 2) AS k, count(*), group_concat(id % 10, '') FROM t GROUP BY k ORDER BY k");
  for (int round = 0; round < 3; round++) {
    char text[400];
    snprintf(text, sizeof text,
             "BEGIN; UPDATE t SET name = name || '-%d', data = zeroblob(length(data) + 7) WHERE id %% 7 = %d;"
             "DELETE FROM t WHERE id %% 5 = %d; DELETE FROM u WHERE n %% 4 = %d; COMMIT",
             round, round, round, round);
    sql(r, text);
    sql(r, "BEGIN");
    fill(r, "INSERT OR REPLACE INTO t VALUES(?,?,?,?)", r->rows, r->rows + r->rows / 5);
    sql(r, "ROLLBACK");
    integrity(r);
  }
  sql(r, "REINDEX; VACUUM");
  integrity(r);
  sql(r, "SELECT * FROM t ORDER BY id; SELECT id, n, name FROM u ORDER BY id, n; DROP TABLE u; VACUUM");
  integrity(r);
}

static void *run_thread(void *arg) {
  struct run *r = arg;
  char path[] = "/tmp/holdfast-sqlite-XXXXXX";
  if (r->in_file) {
    int fd = mkstemp(path);
    if (fd < 0) twin_fail("no file in /tmp");
    close(fd);
  }
  if (sqlite3_open(r->in_file ? path : ":memory:", &r->db) != SQLITE_OK) twin_fail("open: %s", sqlite3_errmsg(r->db));
  sql(r, r->in_file ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF" : "PRAGMA temp_store = MEMORY");
  work(r);
  return NULL;
}

static void finish(struct run *r) {
  char path[512];
  snprintf(path, sizeof path, "%s", sqlite3_db_filename(r->db, "main"));
  if (sqlite3_close(r->db) != SQLITE_OK) twin_fail("close: %s", sqlite3_errmsg(r->db));
  r->db = NULL;
  if (r->in_file) unlink(path);
  printf("%s: %016llx\n", r->in_file ? "file" : "memory", (unsigned long long)r->digest);
}

int main(int argc, char **argv) {
  enum { threads_most = 16 };
  static struct run runs[threads_most]; /* static: a root, and so are the connections in it */
  unsigned long rows = twin_number(argc, argv, 1, 20000), threads = twin_number(argc, argv, 2, 2);
  if (threads < 1 || threads > threads_most) twin_fail("1 to %d threads", threads_most);
  if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK) twin_fail("sqlite3_config");
  for (unsigned long i = 0; i < threads; i++) {
    runs[i] = (struct run){.rows = rows, .random = i + 1, .digest = TWIN_DIGEST, .in_file = i % 2 == 1};
    if (pthread_create(&runs[i].thread, NULL, run_thread, &runs[i]) != 0) twin_fail("no thread");
  }
  size_t heap_peak = 0;
  for (unsigned long i = 0; i < threads; i++) {
    pthread_join(runs[i].thread, NULL);
    if (runs[i].heap_peak > heap_peak) heap_peak = runs[i].heap_peak;
  }
  size_t most = (size_t)sqlite3_memory_highwater(0), used = (size_t)sqlite3_memory_used();
  twin_heap_at_most("sqlite: heap", heap_peak, 3 * most + (8 << 20));
  twin_at_most("sqlite: live", twin_live(), (twin_clears || twin_frees ? used + used / 10 : most) + (1 << 20));
  for (unsigned long i = 0; i < threads; i++) finish(&runs[i]);
  sqlite3_shutdown();
  twin_at_most("sqlite: left", twin_live(), 1 << 20);
  return 0;
}
