/* Encodes many samples at once: the inner loops of samples.py, which has them in NumPy too and gives the same bytes.
 *
 * Compiled by hatch_build.py, loaded by compiled_samples.py. The caller checks shapes and types and provides `out`,
 * which is large enough for any content. Nothing that a board sends gets here.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SPIKE = 0x80, SKIP = 0x40, TICK = 0x20, TICK_LAST = 0x21, DISTANCE_BITS = 7, LARGEST_SKIP = 64 };

/* The checksum of this file, which tells a library that was compiled from another version of it. */
uint32_t spikeloom_source(void) { return SOURCE; }

static unsigned char *put_spike(unsigned char *out, int32_t distance) {
    int32_t skips = distance >> DISTANCE_BITS;
    for (; skips > LARGEST_SKIP; skips -= LARGEST_SKIP)
        *out++ = SKIP | (LARGEST_SKIP - 1);
    if (skips)
        *out++ = (unsigned char)(SKIP | (skips - 1));
    *out++ = (unsigned char)(SPIKE | (distance & ((1 << DISTANCE_BITS) - 1)));
    return out;
}

/* Encode spikes[step * step_stride + sample * sample_stride + input], sample after sample; returns the size.
 *
 * `axons` ascend. `out` holds two bytes per input and nine per step, for all steps of all samples: 65,536 axons are
 * eight SKIPs of the largest distance, and the remainder of a distance takes one more.
 */
int64_t spikeloom_spikes(const unsigned char *spikes, int64_t samples, int64_t sample_stride, int64_t steps,
                         int64_t step_stride, int64_t inputs, const int32_t *axons, int last, unsigned char *out) {
    const unsigned char *const start = out;
    for (int64_t sample = 0; sample < samples; ++sample) {
        for (int64_t step = 0; step < steps; ++step) {
            const unsigned char *row = spikes + sample * sample_stride + step * step_stride;
            int32_t previous = -1;
            int64_t input = 0;
            while (input < inputs) {
                uint64_t word;
                /* Most inputs are silent: eight at a time. */
                if (inputs - input >= 8 && (memcpy(&word, row + input, 8), !word)) {
                    input += 8;
                    continue;
                }
                const int64_t end = inputs - input >= 8 ? input + 8 : inputs;
                for (; input < end; ++input)
                    if (row[input]) {
                        out = put_spike(out, axons[input] - previous - 1);
                        previous = axons[input];
                    }
            }
            *out++ = last && step == steps - 1 ? TICK_LAST : TICK;
        }
    }
    return out - start;
}

/* Encode `images` of `pixels` each, from 0 to `most`, as levels, brightest first; returns the size, -1 for a pixel above
 * `most`.
 *
 * `scratch` holds 3 * pixels + most + 2 numbers. `out` holds, for each image, two bytes per pixel and, for each of the
 * `most` levels, a TICK and a SKIP per 8,192 pixels.
 */
#define DEFINE_IMAGES(name, type)                                                                                      \
    int64_t name(const type *images, int64_t count, int64_t pixels, int64_t most, uint32_t *scratch,                   \
                 unsigned char *out) {                                                                                 \
        const unsigned char *const start = out;                                                                        \
        uint32_t *const place = scratch, *const depth = place + pixels, *const sorted = depth + pixels;                \
        uint32_t *const ends = sorted + pixels;                                                                        \
        for (int64_t image = 0; image < count; ++image, images += pixels) {                                            \
            int64_t lit = 0;                                                                                           \
            type highest = 0;                                                                                          \
            /* The entry after the last lit one is overwritten: no branch that depends on a pixel. */                  \
            for (int64_t pixel = 0; pixel < pixels; ++pixel) {                                                         \
                const type value = images[pixel];                                                                      \
                highest = value > highest ? value : highest;                                                           \
                place[lit] = (uint32_t)pixel;                                                                          \
                depth[lit] = (uint32_t)(most - (int64_t)value);                                                        \
                lit += value != 0;                                                                                     \
            }                                                                                                          \
            if (highest > (uint64_t)most)                                                                              \
                return -1;                                                                                             \
            out = put_image(place, depth, lit, most, sorted, ends, out);                                               \
        }                                                                                                              \
        return out - start;                                                                                            \
    }

/* Encode one image: a counting sort by depth, which keeps the order of the pixels. */
static unsigned char *put_image(const uint32_t *place, const uint32_t *depth, int64_t lit, int64_t most,
                                uint32_t *sorted, uint32_t *ends, unsigned char *out) {
    int64_t levels = 1;
    memset(ends, 0, (size_t)(most + 1) * sizeof *ends);
    for (int64_t number = 0; number < lit; ++number) {
        ++ends[depth[number] + 1];
        levels = depth[number] >= levels ? depth[number] + 1 : levels;
    }
    for (int64_t level = 1; level <= levels; ++level)
        ends[level] += ends[level - 1];
    for (int64_t number = 0; number < lit; ++number) /* afterwards, each entry is where its level ends */
        sorted[ends[depth[number]]++] = place[number];
    uint32_t number = 0;
    for (int64_t level = 0; level < levels; ++level) {
        int32_t previous = -1;
        for (; number < ends[level]; ++number) {
            out = put_spike(out, (int32_t)sorted[number] - previous - 1);
            previous = (int32_t)sorted[number];
        }
        *out++ = level == levels - 1 ? TICK_LAST : TICK;
    }
    return out;
}

DEFINE_IMAGES(spikeloom_images_1, uint8_t)
DEFINE_IMAGES(spikeloom_images_2, uint16_t)
DEFINE_IMAGES(spikeloom_images_4, uint32_t)
DEFINE_IMAGES(spikeloom_images_8, uint64_t)
