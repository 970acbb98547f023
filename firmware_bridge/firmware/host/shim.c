/* Flat functions over the controller for callers without C headers: Python's ctypes in the tests. */
#include <stdlib.h>
#include <string.h>

#include "../core/controller.h"

typedef struct {
    fosp_controller_t controller;
    char name[25];
    char serial[17];
} shim_t;

shim_t *shim_new(uint32_t joints, uint32_t capabilities, const char *name, const char *serial);
void shim_free(shim_t *shim);
void shim_receive(shim_t *shim, const uint8_t *data, size_t length);
size_t shim_pull(shim_t *shim, uint8_t *to, size_t room);
void shim_tick(shim_t *shim, uint32_t dt_us, int valid, const int32_t *positions, const int32_t *velocities,
               const int16_t *currents, const int16_t *temperatures, uint16_t voltage_mv);
fosp_decoder_t *shim_decoder_new(void);
void shim_decoder_free(fosp_decoder_t *decoder);
int shim_decoder_push(fosp_decoder_t *decoder, uint8_t byte);
size_t shim_decoder_payload(const fosp_decoder_t *decoder, uint8_t *to);
int shim_state(const shim_t *shim);
int shim_drive(const shim_t *shim);
uint32_t shim_faults(const shim_t *shim);
int64_t shim_setpoint(const shim_t *shim, uint32_t joint);

shim_t *shim_new(uint32_t joints, uint32_t capabilities, const char *name, const char *serial) {
    shim_t *shim = calloc(1, sizeof(shim_t));
    if (shim != NULL) {
        fosp_identity_t identity = {joints, capabilities, shim->name, shim->serial};
        strncpy(shim->name, name, sizeof(shim->name) - 1u);
        strncpy(shim->serial, serial, sizeof(shim->serial) - 1u);
        fosp_controller_init(&shim->controller, &identity);
    }
    return shim;
}

void shim_free(shim_t *shim) { free(shim); }

void shim_receive(shim_t *shim, const uint8_t *data, size_t length) {
    fosp_controller_receive(&shim->controller, data, length);
}

size_t shim_pull(shim_t *shim, uint8_t *to, size_t room) { return fosp_controller_pull(&shim->controller, to, room); }

void shim_tick(shim_t *shim, uint32_t dt_us, int valid, const int32_t *positions, const int32_t *velocities,
               const int16_t *currents, const int16_t *temperatures, uint16_t voltage_mv) {
    fosp_feedback_t feedback;
    memset(&feedback, 0, sizeof(feedback));
    for (uint32_t joint = 0; joint < shim->controller.identity.joint_count; ++joint) {
        feedback.measured[joint].position_urad = positions[joint];
        feedback.measured[joint].velocity_urad_s = velocities[joint];
        feedback.currents_ma[joint] = currents[joint];
        feedback.temperatures_decidegree[joint] = temperatures[joint];
    }
    feedback.voltage_mv = voltage_mv;
    feedback.valid = (valid != 0);
    fosp_controller_tick(&shim->controller, dt_us, &feedback);
}

fosp_decoder_t *shim_decoder_new(void) {
    fosp_decoder_t *decoder = calloc(1, sizeof(fosp_decoder_t));
    if (decoder != NULL) {
        fosp_decoder_init(decoder);
    }
    return decoder;
}

void shim_decoder_free(fosp_decoder_t *decoder) { free(decoder); }

int shim_decoder_push(fosp_decoder_t *decoder, uint8_t byte) { return (int)fosp_decoder_push(decoder, byte); }

size_t shim_decoder_payload(const fosp_decoder_t *decoder, uint8_t *to) {
    memcpy(to, decoder->payload, decoder->length);
    return decoder->length;
}

int shim_state(const shim_t *shim) { return (int)shim->controller.state; }
int shim_drive(const shim_t *shim) { return (int)shim->controller.drive; }
uint32_t shim_faults(const shim_t *shim) { return shim->controller.faults; }
int64_t shim_setpoint(const shim_t *shim, uint32_t joint) { return shim->controller.setpoints[joint]; }
