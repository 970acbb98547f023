/* Frames on a byte stream: COBS, CRC-32. Twin of firmware_bridge/framing.py. PROTOCOL.md section 1. */
#ifndef FOSP_FRAMING_H
#define FOSP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOSP_MAX_DECODED 256u
#define FOSP_MAX_ENCODED (FOSP_MAX_DECODED + 2u)
#define FOSP_MAX_FRAME (FOSP_MAX_ENCODED + 1u)
#define FOSP_MAX_PAYLOAD (FOSP_MAX_DECODED - 4u)
#define FOSP_MIN_DECODED 7u

enum fosp_frame_event {
    FOSP_FRAME_NONE,     /* more bytes needed */
    FOSP_FRAME_READY,    /* decoder->payload holds decoder->length checked bytes */
    FOSP_FRAME_BROKEN,   /* not a COBS encoding */
    FOSP_FRAME_DAMAGED,  /* wrong CRC, or shorter than a header and a CRC */
    FOSP_FRAME_OVERSIZE  /* too long; reported once per run without a zero */
};

typedef struct {
    uint8_t encoded[FOSP_MAX_ENCODED];
    size_t encoded_length;
    bool skipping;
    uint8_t payload[FOSP_MAX_ENCODED];
    size_t length;
} fosp_decoder_t;

uint32_t fosp_crc32(const uint8_t *data, size_t length);

/* `to` takes length + length / 254 + 1 bytes. Returns the bytes written. */
size_t fosp_cobs_encode(const uint8_t *data, size_t length, uint8_t *to);

/* `to` takes `length` bytes. Returns false if `data` is not a COBS encoding. */
bool fosp_cobs_decode(const uint8_t *data, size_t length, uint8_t *to, size_t *decoded);

/* `to` takes FOSP_MAX_FRAME bytes; `length` is at most FOSP_MAX_PAYLOAD, else 0 is returned. */
size_t fosp_encode_frame(const uint8_t *payload, size_t length, uint8_t *to);

void fosp_decoder_init(fosp_decoder_t *decoder);
enum fosp_frame_event fosp_decoder_push(fosp_decoder_t *decoder, uint8_t byte);

#endif
