/* Where an endless joint stands, as a wheel does: within one turn. For whoever reads the sensors of such joints. */
#ifndef FOSP_TURN_H
#define FOSP_TURN_H

#include <stdint.h>

#define FOSP_TURN_URAD 6283185 /* 2 pi, rounded */

/* From minus half a turn to just below plus half a turn. */
static inline int32_t fosp_within_a_turn(int64_t position_urad) {
    const int64_t half = FOSP_TURN_URAD / 2;
    int64_t rest = (position_urad + half) % FOSP_TURN_URAD;
    if (rest < 0) {
        rest += FOSP_TURN_URAD;
    }
    return (int32_t)(rest - half);
}

#endif
