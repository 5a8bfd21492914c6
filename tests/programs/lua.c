/* lua.c - Lua 5.4 with its allocator on twin.h. Runs one script as the plain interpreter does, whose output must be
 * the same.
 * Usage:    lua SCRIPT [ARGUMENT...]
 * Promises: where freed memory is cleared or freed, the heap stays within 3 times the most that Lua has taken at a
 *           time and 8 MiB; after the script, what is live within a fifth and 1 MiB of what Lua counts. Otherwise
 *           nothing: docs/programs.md tells why. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "twin.h"

/* Bytes that Lua has taken and not given back, the most of it so far, and the most heap seen. */
static size_t taken, most_taken, heap_peak, calls;

/* Lua frees by asking for 0 bytes; osize is the kind of object where ptr is NULL. */
static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize) {
  (void)ud;
  taken += nsize - (ptr == NULL ? 0 : osize);
  if (taken > most_taken) most_taken = taken;
  if (++calls % 8192 == 0 && twin_heap() > heap_peak) heap_peak = twin_heap();
  if (nsize == 0) return twin_free(ptr), NULL;
  return ptr == NULL ? twin_alloc(nsize) : twin_realloc(ptr, nsize);
}

/* In Lua, so that an error has a trace; arg as the interpreter sets it. */
static int run(lua_State *L) {
  char **argv = lua_touserdata(L, 1);
  luaL_openlibs(L);
  lua_newtable(L);
  for (int i = 1; argv[i] != NULL; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
  if (luaL_loadfile(L, argv[1]) != LUA_OK) return lua_error(L);
  for (int i = 2; argv[i] != NULL; i++) lua_pushstring(L, argv[i]);
  lua_call(L, lua_gettop(L) - 2, 0);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) twin_fail("usage: lua SCRIPT [ARGUMENT...]");
  lua_State *L = lua_newstate(allocate, NULL);
  if (L == NULL) twin_fail("no state");
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, argv);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) twin_fail("%s", lua_tostring(L, -1));
  fflush(stdout);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  size_t counted = (size_t)lua_gc(L, LUA_GCCOUNT) << 10;
  if (twin_clears || twin_frees) {
    twin_heap_at_most("lua: heap", heap_peak, 3 * most_taken + (8 << 20));
    twin_at_most("lua: live", twin_live(), counted + counted / 5 + (1 << 20));
  }
  lua_close(L);
  return 0;
}
