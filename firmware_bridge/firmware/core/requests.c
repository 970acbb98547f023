#include "bytes.h"
#include "internal.h"

#define HEADER 3u
#define LIMITS_BODY 33u
#define NOT_WHITELISTED SIZE_MAX

/* The whitelist: the exact body length of every type a host may send. COMMAND says its own. */
static size_t expected_length(uint8_t type, const uint8_t *body, size_t length) {
    switch (type) {
        case FOSP_HELLO:
            return 10;
        case FOSP_SET_LIMITS:
            return LIMITS_BODY;
        case FOSP_GET_LIMITS:
        case FOSP_DISARM:
            return 1;
        case FOSP_SET_WATCHDOG:
            return 5;
        case FOSP_SET_TELEMETRY:
        case FOSP_CLEAR_FAULTS:
            return 4;
        case FOSP_ARM:
        case FOSP_STOP:
        case FOSP_GET_COUNTERS:
            return 0;
        case FOSP_COMMAND:
            if ((length < 2u) || (body[1] < 1u) || (body[1] > FOSP_MAX_JOINTS)) {
                return NOT_WHITELISTED;
            }
            return 2u + (4u * (size_t)body[1]);
        default:
            return NOT_WHITELISTED;
    }
}

static void on_hello(fosp_controller_t *self, const uint8_t *body, uint16_t sequence) {
    const uint32_t session = fosp_get_u32(&body[6]);
    if ((fosp_get_u32(body) != FOSP_MAGIC) || (session == 0u)) {
        fosp_count(self, FOSP_COUNT_MALFORMED_FRAMES);
        return;
    }
    if ((body[4] == FOSP_VERSION_MAJOR) && (session != self->session)) {
        fosp_hold_if_on(self);
        self->state = (self->faults != 0u) ? FOSP_FAULT : FOSP_DISARMED;
        self->session = session;
        self->last_sequence = sequence;
        self->next_telemetry_us = self->ticks_us;
    }
    fosp_send_identity(self, FOSP_HELLO_REPLY, sequence, session);
}

static void on_stop(fosp_controller_t *self, uint16_t sequence) {
    fosp_hold_if_on(self);
    fosp_latch(self, FOSP_FAULT_HOST_STOP, false);
    fosp_send_ack(self, FOSP_STOP, sequence, FOSP_OK, 0);
}

static void on_set_limits(fosp_controller_t *self, const uint8_t *body, uint16_t sequence) {
    const uint8_t joint = body[0];
    fosp_limits_t limits;
    if (self->state != FOSP_DISARMED) {
        fosp_send_ack(self, FOSP_SET_LIMITS, sequence, FOSP_WRONG_STATE, 0);
        return;
    }
    limits.position_min_urad = fosp_get_i32(&body[1]);
    limits.position_max_urad = fosp_get_i32(&body[5]);
    limits.velocity_max_urad_s = fosp_get_i32(&body[9]);
    limits.acceleration_max_urad_s2 = fosp_get_i32(&body[13]);
    limits.effort_max_mnm = fosp_get_i32(&body[17]);
    limits.distance_max_urad = fosp_get_i32(&body[21]);
    limits.temperature_max_decidegree = fosp_get_i32(&body[25]);
    limits.current_max_ma = fosp_get_i32(&body[29]);
    if ((joint >= self->identity.joint_count) || !fosp_limits_valid(&limits)) {
        fosp_send_ack(self, FOSP_SET_LIMITS, sequence, FOSP_BAD_VALUE, 0);
        return;
    }
    self->limits[joint] = limits;
    self->has_limits[joint] = true;
    fosp_send_limits(self, sequence, joint);
}

static void on_get_limits(fosp_controller_t *self, uint8_t joint, uint16_t sequence) {
    if (joint >= self->identity.joint_count) {
        fosp_send_ack(self, FOSP_GET_LIMITS, sequence, FOSP_BAD_VALUE, 0);
    } else if (!self->has_limits[joint]) {
        fosp_send_ack(self, FOSP_GET_LIMITS, sequence, FOSP_LIMITS_MISSING, 0);
    } else {
        fosp_send_limits(self, sequence, joint);
    }
}

static enum fosp_result set_watchdog(fosp_controller_t *self, const uint8_t *body) {
    const uint32_t timeout_us = fosp_get_u32(body);
    if ((timeout_us < FOSP_WATCHDOG_MIN_US) || (timeout_us > FOSP_WATCHDOG_MAX_US) ||
        (body[4] > (uint8_t)FOSP_REACTION_DAMP)) {
        return FOSP_BAD_VALUE;
    }
    if (self->state == FOSP_ARMED) {
        return FOSP_WRONG_STATE;
    }
    self->watchdog_timeout_us = timeout_us;
    self->reaction = (enum fosp_reaction)body[4];
    return FOSP_OK;
}

static enum fosp_result set_telemetry(fosp_controller_t *self, const uint8_t *body) {
    const uint32_t period_us = fosp_get_u32(body);
    if ((period_us < FOSP_TELEMETRY_MIN_US) || (period_us > FOSP_TELEMETRY_MAX_US)) {
        return FOSP_BAD_VALUE;
    }
    self->telemetry_period_us = period_us;
    self->next_telemetry_us = self->ticks_us + period_us;
    return FOSP_OK;
}

static enum fosp_result disarm(fosp_controller_t *self, uint8_t torque) {
    if (torque > 1u) {
        return FOSP_BAD_VALUE;
    }
    if (self->state == FOSP_ARMED) {
        self->state = FOSP_DISARMED;
    }
    fosp_hold_if_on(self);
    if (torque == 1u) {
        self->drive = FOSP_DRIVE_OFF;
    }
    return FOSP_OK;
}

static void clear_faults(fosp_controller_t *self, uint32_t mask) {
    self->faults &= ~mask;
    if ((self->state == FOSP_FAULT) && (self->faults == 0u)) {
        self->state = FOSP_DISARMED;
    }
}

static void on_request(fosp_controller_t *self, uint8_t type, const uint8_t *body, uint16_t sequence) {
    switch (type) {
        case FOSP_SET_LIMITS:
            on_set_limits(self, body, sequence);
            break;
        case FOSP_GET_LIMITS:
            on_get_limits(self, body[0], sequence);
            break;
        case FOSP_SET_WATCHDOG:
            fosp_send_ack(self, type, sequence, set_watchdog(self, body), 0);
            break;
        case FOSP_SET_TELEMETRY:
            fosp_send_ack(self, type, sequence, set_telemetry(self, body), 0);
            break;
        case FOSP_ARM:
            fosp_send_ack(self, type, sequence, fosp_arm(self), 0);
            break;
        case FOSP_DISARM:
            fosp_send_ack(self, type, sequence, disarm(self, body[0]), 0);
            break;
        case FOSP_CLEAR_FAULTS:
            clear_faults(self, fosp_get_u32(body));
            fosp_send_ack(self, type, sequence, FOSP_OK, self->faults);
            break;
        default:
            fosp_send_counters(self, sequence);
            break;
    }
}

static void on_payload(fosp_controller_t *self, const uint8_t *payload, size_t length) {
    const uint8_t type = payload[0];
    const uint16_t sequence = fosp_get_u16(&payload[1]);
    const uint8_t *body = &payload[HEADER];
    const uint16_t ahead = (uint16_t)(sequence - self->last_sequence);
    if (expected_length(type, body, length - HEADER) != (length - HEADER)) {
        fosp_count(self, FOSP_COUNT_MALFORMED_FRAMES);
    } else if (type == (uint8_t)FOSP_HELLO) {
        on_hello(self, body, sequence);
    } else if (type == (uint8_t)FOSP_STOP) {
        on_stop(self, sequence);
    } else if (self->state == FOSP_UNCONNECTED) {
        if (type == (uint8_t)FOSP_COMMAND) {
            fosp_count(self, (uint32_t)FOSP_COUNT_REFUSED + (uint32_t)FOSP_REFUSED_NOT_ARMED);
        } else {
            fosp_send_ack(self, type, sequence, FOSP_NOT_CONNECTED, 0);
        }
    } else if ((ahead == 0u) || (ahead > 0x7FFFu)) {
        fosp_count(self, FOSP_COUNT_STALE_FRAMES);
    } else {
        self->last_sequence = sequence;
        if (type == (uint8_t)FOSP_COMMAND) {
            fosp_command(self, body, sequence);
        } else {
            on_request(self, type, body, sequence);
        }
    }
}

void fosp_controller_receive(fosp_controller_t *self, const uint8_t *data, size_t length) {
    self->counters[FOSP_COUNT_BYTES_RECEIVED] += (uint32_t)length;
    for (size_t at = 0; at < length; ++at) {
        switch (fosp_decoder_push(&self->decoder, data[at])) {
            case FOSP_FRAME_READY:
                fosp_count(self, FOSP_COUNT_FRAMES_RECEIVED);
                on_payload(self, self->decoder.payload, self->decoder.length);
                break;
            case FOSP_FRAME_BROKEN:
                fosp_count(self, FOSP_COUNT_FRAMING_ERRORS);
                break;
            case FOSP_FRAME_DAMAGED:
                fosp_count(self, FOSP_COUNT_CRC_ERRORS);
                break;
            case FOSP_FRAME_OVERSIZE:
                fosp_count(self, FOSP_COUNT_OVERSIZE_FRAMES);
                break;
            default:
                break;
        }
    }
}
