/* stale.h - forgotten copies of heap addresses, and how a measurement gets rid of them.
 *
 * Owns:    the two things that the examples and the scenarios do before they collect: overwriting dead
 *          stack, clearing dead registers. A collector that searches stacks takes every word for a pointer.
 * Promise: after stale_wipe_stack and STALE_FORGET_REGISTERS only frames that are still active can hold a
 *          stale address. What those hold is the caller's business: examples.h has the rules.
 * Never:   depends on an allocator.
 * Reading: examples.h. */
#ifndef EXPERIMENTS_STALE_H
#define EXPERIMENTS_STALE_H

#include <stddef.h>
#include <stdint.h>

/* Out of line in every build. noipa (gcc only) also forbids clones, and forbids that a caller relies on
 * which registers the function leaves alone. */
#if __has_attribute(noipa)
#define STALE_NOINLINE __attribute__((noinline, noipa))
#else
#define STALE_NOINLINE __attribute__((noinline))
#endif

/* How much dead stack is overwritten. Allocation may have started a cycle, and a stop signal's frame with
 * the widest vector state is some 11 KiB: this covers a few of those and the collector's own frames. */
#define STALE_WIPE_BYTES (64 * 1024)

/* Frames of finished steps lie below the live ones. The collector's own frames are about to be put there,
 * and what they do not initialise (padding, locals not yet set) would show it the old words. */
__attribute__((unused)) static STALE_NOINLINE void stale_wipe_stack(void) {
  volatile uintptr_t dead[STALE_WIPE_BYTES / sizeof(uintptr_t)];
  for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) dead[i] = 0;
}

/* A collector saves all registers where it looks for pointers, also those whose values are dead. The
 * call-clobbered ones still hold what the last step left, vector registers included (gcc copies pointers
 * through them), so they are cleared. The callee-saved ones were restored by the step that used them to
 * what main and run keep there, no heap address by rule 2; naming them makes the compiler keep nothing in
 * them across this point. Elsewhere than on x86-64 the barrier alone must do. */
#if defined(__x86_64__)
#define STALE_FORGET_REGISTERS()                                                                                    \
  __asm__ volatile(                                                                                                 \
      "xorl %%eax,%%eax\n\txorl %%ecx,%%ecx\n\txorl %%edx,%%edx\n\t"                                                \
      "xorl %%esi,%%esi\n\txorl %%edi,%%edi\n\txorl %%r8d,%%r8d\n\t"                                                \
      "xorl %%r9d,%%r9d\n\txorl %%r10d,%%r10d\n\txorl %%r11d,%%r11d\n\t"                                            \
      "xorl %%ebx,%%ebx\n\txorl %%r12d,%%r12d\n\txorl %%r13d,%%r13d\n\t"                                            \
      "xorl %%r14d,%%r14d\n\txorl %%r15d,%%r15d\n\t"                                                                \
      "pxor %%xmm0,%%xmm0\n\tpxor %%xmm1,%%xmm1\n\tpxor %%xmm2,%%xmm2\n\t"                                          \
      "pxor %%xmm3,%%xmm3\n\tpxor %%xmm4,%%xmm4\n\tpxor %%xmm5,%%xmm5\n\t"                                          \
      "pxor %%xmm6,%%xmm6\n\tpxor %%xmm7,%%xmm7\n\tpxor %%xmm8,%%xmm8\n\t"                                          \
      "pxor %%xmm9,%%xmm9\n\tpxor %%xmm10,%%xmm10\n\tpxor %%xmm11,%%xmm11\n\t"                                      \
      "pxor %%xmm12,%%xmm12\n\tpxor %%xmm13,%%xmm13\n\tpxor %%xmm14,%%xmm14\n\t"                                    \
      "pxor %%xmm15,%%xmm15"                                                                                        \
      :                                                                                                             \
      :                                                                                                             \
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx", "r12", "r13", "r14", "r15", "xmm0",     \
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
        "xmm14", "xmm15", "cc", "memory")
#else
#define STALE_FORGET_REGISTERS() __asm__ volatile("" : : : "memory")
#endif

#endif
