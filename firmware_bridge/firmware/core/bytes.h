/* Little-endian integers in byte buffers, whatever the processor's own order and alignment. */
#ifndef FOSP_BYTES_H
#define FOSP_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline uint16_t fosp_get_u16(const uint8_t *from) {
    return (uint16_t)((uint32_t)from[0] | ((uint32_t)from[1] << 8));
}

static inline uint32_t fosp_get_u32(const uint8_t *from) {
    return (uint32_t)from[0] | ((uint32_t)from[1] << 8) | ((uint32_t)from[2] << 16) | ((uint32_t)from[3] << 24);
}

static inline int32_t fosp_get_i32(const uint8_t *from) {
    const uint32_t raw = fosp_get_u32(from);
    /* Two's complement without relying on the conversion of an out-of-range value. */
    return (raw <= 0x7FFFFFFFu) ? (int32_t)raw : (-(int32_t)(0xFFFFFFFFu - raw) - 1);
}

static inline uint8_t *fosp_put_u8(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)(value & 0xFFu);
    return to + 1;
}

static inline uint8_t *fosp_put_u16(uint8_t *to, uint32_t value) {
    return fosp_put_u8(fosp_put_u8(to, value), value >> 8);
}

static inline uint8_t *fosp_put_u32(uint8_t *to, uint32_t value) {
    return fosp_put_u16(fosp_put_u16(to, value), value >> 16);
}

static inline uint8_t *fosp_put_u64(uint8_t *to, uint64_t value) {
    return fosp_put_u32(fosp_put_u32(to, (uint32_t)(value & 0xFFFFFFFFu)), (uint32_t)(value >> 32));
}

static inline uint8_t *fosp_put_text(uint8_t *to, const char *text, size_t width) {
    size_t at = 0;
    for (; (at < width) && (text[at] != '\0'); ++at) {
        to[at] = (uint8_t)text[at];
    }
    for (; at < width; ++at) {
        to[at] = 0u;
    }
    return to + width;
}

#endif
