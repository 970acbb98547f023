#include "runtime.h"

extern uint32_t image_data_source;
extern uint32_t image_data_start;
extern uint32_t image_data_end;
extern uint32_t image_bss_start;
extern uint32_t image_bss_end;

/* The compiler calls these for structure copies; there is no C library below us. */
__attribute__((used)) void *memcpy(void *to, const void *from, size_t length) {
    uint8_t *target = to;
    const uint8_t *source = from;
    for (size_t at = 0; at < length; ++at) {
        target[at] = source[at];
    }
    return to;
}

__attribute__((used)) void *memset(void *to, int value, size_t length) {
    uint8_t *target = to;
    for (size_t at = 0; at < length; ++at) {
        target[at] = (uint8_t)value;
    }
    return to;
}

void runtime_reset(void) {
    const uint32_t *source = &image_data_source;
    for (uint32_t *at = &image_data_start; at < &image_data_end; ++at) {
        *at = *source;
        ++source;
    }
    for (uint32_t *at = &image_bss_start; at < &image_bss_end; ++at) {
        *at = 0;
    }
    (void)main();
    runtime_halt();
}

void runtime_halt(void) {
    for (;;) {
    }
}
