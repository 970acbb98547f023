/* The motor controller's logic: bytes in, bytes out, its own clock. Twin of firmware_bridge/controller.py, byte for byte.
 *
 * A port calls fosp_controller_receive with what its UART gives, fosp_controller_tick once per control period with fresh
 * feedback, then reads `drive` and `setpoints` and sends what fosp_controller_pull hands out. Nothing here allocates, blocks,
 * or knows any hardware. All calls come from one context: an interrupt only fills a buffer. */
#ifndef FOSP_CONTROLLER_H
#define FOSP_CONTROLLER_H

#include "framing.h"
#include "protocol.h"
#include "safety.h"

#define FOSP_OUTPUT_SIZE 4096u

typedef struct {
    uint32_t joint_count;
    uint32_t capabilities;
    const char *name;   /* at most 24 characters */
    const char *serial; /* at most 16 characters */
} fosp_identity_t;

typedef struct {
    fosp_measured_t measured[FOSP_MAX_JOINTS];
    int16_t currents_ma[FOSP_MAX_JOINTS];
    int16_t temperatures_decidegree[FOSP_MAX_JOINTS];
    uint16_t voltage_mv;
    bool valid;
} fosp_feedback_t;

typedef struct {
    fosp_identity_t identity;
    uint64_t ticks_us;
    enum fosp_state state;
    enum fosp_drive drive;
    int64_t setpoints[FOSP_MAX_JOINTS]; /* micro-radians / s, or milli-newton-metres when drive is effort */
    uint32_t faults;
    uint32_t counters[FOSP_COUNTERS_NUMBER];

    fosp_decoder_t decoder;
    uint8_t output[FOSP_OUTPUT_SIZE];
    size_t output_head;
    size_t output_count;

    uint32_t session;
    uint16_t last_sequence;
    uint16_t own_sequence;
    fosp_limits_t limits[FOSP_MAX_JOINTS];
    bool has_limits[FOSP_MAX_JOINTS];
    fosp_limits_t armed_limits[FOSP_MAX_JOINTS];
    fosp_memory_t memory[FOSP_MAX_JOINTS];
    enum fosp_mode mode;
    int32_t targets[FOSP_MAX_JOINTS];
    bool ramping;
    uint32_t watchdog_timeout_us;
    enum fosp_reaction reaction;
    uint32_t telemetry_period_us;
    uint64_t next_telemetry_us;
    uint64_t fed_us;
    uint64_t checked_us;
    uint64_t feedback_us;
    fosp_feedback_t feedback;
    enum fosp_refusal refusal;
    uint16_t command_sequence;
} fosp_controller_t;

void fosp_controller_init(fosp_controller_t *self, const fosp_identity_t *identity);
void fosp_controller_receive(fosp_controller_t *self, const uint8_t *data, size_t length);
void fosp_controller_tick(fosp_controller_t *self, uint32_t dt_us, const fosp_feedback_t *feedback);
size_t fosp_controller_pull(fosp_controller_t *self, uint8_t *to, size_t room);

#endif
