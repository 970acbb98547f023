#include "bytes.h"
#include "internal.h"

#define HEADER 3u

void fosp_count(fosp_controller_t *self, uint32_t counter) { ++self->counters[counter]; }

static uint8_t *begin(uint8_t *payload, uint8_t type, uint16_t sequence) {
    return fosp_put_u16(fosp_put_u8(payload, type), sequence);
}

/* A frame that does not fit is dropped whole and counted: half a frame would cost the next one too. */
static bool send(fosp_controller_t *self, const uint8_t *payload, const uint8_t *end) {
    uint8_t frame[FOSP_MAX_FRAME];
    const size_t length = fosp_encode_frame(payload, (size_t)(end - payload), frame);
    if ((self->output_count + length) > FOSP_OUTPUT_SIZE) {
        fosp_count(self, FOSP_COUNT_TRANSMIT_DROPS);
        return false;
    }
    for (size_t at = 0; at < length; ++at) {
        self->output[(self->output_head + self->output_count) % FOSP_OUTPUT_SIZE] = frame[at];
        ++self->output_count;
    }
    return true;
}

size_t fosp_controller_pull(fosp_controller_t *self, uint8_t *to, size_t room) {
    size_t pulled = 0;
    while ((pulled < room) && (self->output_count > 0u)) {
        to[pulled] = self->output[self->output_head];
        ++pulled;
        self->output_head = (self->output_head + 1u) % FOSP_OUTPUT_SIZE;
        --self->output_count;
    }
    return pulled;
}

void fosp_send_ack(fosp_controller_t *self, uint8_t request, uint16_t sequence, enum fosp_result result,
                   uint32_t detail) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    uint8_t *at = begin(payload, FOSP_ACK, sequence);
    if (result != FOSP_OK) {
        fosp_count(self, FOSP_COUNT_REQUESTS_REFUSED);
    }
    at = fosp_put_u8(at, request);
    at = fosp_put_u8(at, (uint32_t)result);
    at = fosp_put_u32(at, detail);
    (void)send(self, payload, at);
}

void fosp_send_identity(fosp_controller_t *self, uint8_t type, uint16_t sequence, uint32_t session) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    uint8_t *at = begin(payload, type, sequence);
    at = fosp_put_u32(at, FOSP_MAGIC);
    at = fosp_put_u8(at, FOSP_VERSION_MAJOR);
    at = fosp_put_u8(at, FOSP_VERSION_MINOR);
    at = fosp_put_u32(at, session);
    at = fosp_put_u8(at, self->identity.joint_count);
    at = fosp_put_u32(at, self->identity.capabilities);
    at = fosp_put_text(at, self->identity.name, 24);
    at = fosp_put_text(at, self->identity.serial, 16);
    (void)send(self, payload, at);
}

void fosp_send_limits(fosp_controller_t *self, uint16_t sequence, uint8_t joint) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    const fosp_limits_t *stored = &self->limits[joint];
    uint8_t *at = begin(payload, FOSP_LIMITS_REPORT, sequence);
    at = fosp_put_u8(at, joint);
    at = fosp_put_u32(at, (uint32_t)stored->position_min_urad);
    at = fosp_put_u32(at, (uint32_t)stored->position_max_urad);
    at = fosp_put_u32(at, (uint32_t)stored->velocity_max_urad_s);
    at = fosp_put_u32(at, (uint32_t)stored->acceleration_max_urad_s2);
    at = fosp_put_u32(at, (uint32_t)stored->effort_max_mnm);
    at = fosp_put_u32(at, (uint32_t)stored->distance_max_urad);
    at = fosp_put_u32(at, (uint32_t)stored->temperature_max_decidegree);
    at = fosp_put_u32(at, (uint32_t)stored->current_max_ma);
    (void)send(self, payload, at);
}

void fosp_send_counters(fosp_controller_t *self, uint16_t sequence) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    uint8_t *at = begin(payload, FOSP_COUNTERS, sequence);
    for (uint32_t counter = 0; counter < (uint32_t)FOSP_COUNTERS_NUMBER; ++counter) {
        at = fosp_put_u32(at, self->counters[counter]);
    }
    (void)send(self, payload, at);
}

static uint32_t commands_refused(const fosp_controller_t *self) {
    uint32_t sum = 0;
    for (uint32_t why = FOSP_REFUSED_NOT_ARMED; why <= (uint32_t)FOSP_REFUSED_EFFORT; ++why) {
        sum += self->counters[(uint32_t)FOSP_COUNT_REFUSED + why];
    }
    return sum;
}

uint32_t fosp_joint_errors(const fosp_controller_t *self, uint32_t joint) {
    const fosp_limits_t *limits = &self->limits[joint];
    const fosp_measured_t *now = &self->feedback.measured[joint];
    const int32_t current = self->feedback.currents_ma[joint];
    uint32_t errors = self->feedback.valid ? 0u : FOSP_ERROR_FEEDBACK_MISSING;
    if (!self->has_limits[joint]) {
        return errors;
    }
    if (self->feedback.temperatures_decidegree[joint] > limits->temperature_max_decidegree) {
        errors |= FOSP_ERROR_OVER_TEMPERATURE;
    }
    if ((current > limits->current_max_ma) || (current < -limits->current_max_ma)) {
        errors |= FOSP_ERROR_OVER_CURRENT;
    }
    if (fosp_over_velocity(limits, now)) {
        errors |= FOSP_ERROR_OVER_VELOCITY;
    }
    if ((now->position_urad < limits->position_min_urad) || (now->position_urad > limits->position_max_urad)) {
        errors |= FOSP_ERROR_OUTSIDE_LIMITS;
    }
    return errors;
}

void fosp_send_telemetry(fosp_controller_t *self) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    uint8_t *at;
    ++self->own_sequence;
    at = begin(payload, FOSP_TELEMETRY, self->own_sequence);
    at = fosp_put_u64(at, self->ticks_us);
    at = fosp_put_u8(at, (uint32_t)self->state);
    at = fosp_put_u8(at, (uint32_t)self->drive);
    at = fosp_put_u8(at, (uint32_t)self->refusal);
    at = fosp_put_u8(at, self->identity.joint_count);
    at = fosp_put_u16(at, self->command_sequence);
    at = fosp_put_u16(at, self->feedback.voltage_mv);
    at = fosp_put_u32(at, self->faults);
    at = fosp_put_u32(at, commands_refused(self));
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        at = fosp_put_u32(at, (uint32_t)self->feedback.measured[joint].position_urad);
        at = fosp_put_u32(at, (uint32_t)self->feedback.measured[joint].velocity_urad_s);
        at = fosp_put_u16(at, (uint32_t)(int32_t)self->feedback.currents_ma[joint]);
        at = fosp_put_u16(at, (uint32_t)(int32_t)self->feedback.temperatures_decidegree[joint]);
        at = fosp_put_u16(at, fosp_joint_errors(self, joint));
    }
    if (send(self, payload, at)) {
        fosp_count(self, FOSP_COUNT_TELEMETRY_SENT);
    }
}
