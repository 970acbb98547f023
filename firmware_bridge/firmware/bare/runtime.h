/* What a Cortex-M image needs before and beside its main: memory set-up, and bytes between an interrupt and the main loop. */
#ifndef FOSP_RUNTIME_H
#define FOSP_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_CURRENT REGISTER(0xE000E018u)
#define NVIC_ENABLE(number) REGISTER(0xE000E100u + (4u * (number)))

#define RING_SIZE 1024u /* a power of two */

/* One writer (the interrupt), one reader (the main loop): each index has one owner. */
typedef struct {
    uint8_t bytes[RING_SIZE];
    volatile uint32_t written;
    volatile uint32_t read;
} ring_t;

static inline void ring_put(ring_t *ring, uint8_t byte) {
    if ((ring->written - ring->read) < RING_SIZE) {
        ring->bytes[ring->written % RING_SIZE] = byte;
        ++ring->written;
    }
}

static inline size_t ring_take(ring_t *ring, uint8_t *to, size_t room) {
    size_t taken = 0;
    while ((taken < room) && (ring->read != ring->written)) {
        to[taken] = ring->bytes[ring->read % RING_SIZE];
        ++taken;
        ++ring->read;
    }
    return taken;
}

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
void runtime_reset(void); /* the reset handler: copies data, clears bss, calls main */
void runtime_halt(void);  /* any unexpected interrupt: stop with outputs as the port leaves them on reset */
int main(void);

#endif
