// A burning candle in a dim room. Our own scene; README.md says how it becomes candle.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "woods.inc"
camera { location <0, 1.9, -6.4> look_at <0, 1.25, 0> angle 34 aperture 0.15 focal_point <0, 1.5, 0> blur_samples 24 }
light_source { <0, 2.35, -0.1> color rgb <1.0, 0.66, 0.28>*1.0 fade_distance 3 fade_power 2 area_light <0.2,0,0>, <0,0.4,0>, 3, 3 adaptive 1 jitter }
light_source { <-6, 7, -6> color rgb <0.28, 0.22, 0.18> }
plane { y, 0 texture { T_Wood10 scale 2 rotate <0, 70, 3> finish { reflection 0.08 } } }
plane { z, 7 pigment { color rgb <0.20, 0.12, 0.08> } }
// Wax, lit from within near the flame.
difference {
  cylinder { 0*y, 1.75*y, 0.5 }
  sphere { 2.25*y, 0.62 }
  pigment { gradient y color_map { [0 color rgb <0.72, 0.60, 0.44>] [0.6 color rgb <0.85, 0.70, 0.48>] [1 color rgb <1.0, 0.82, 0.50>] } scale 1.76 }
  finish { ambient rgb <0.32, 0.22, 0.10> diffuse 0.7 specular 0.3 roughness 0.05 }
}
cylinder { 1.6*y, 1.95*y, 0.025 pigment { color rgb 0.03 } }
// Flame and halo: light without shadow.
#declare Glow = pigment { spherical color_map { [0 color rgbt <1, 0.45, 0.1, 1>] [0.5 color rgbt <1, 0.55, 0.15, 0.9>] [1 color rgbt <1, 0.75, 0.35, 0.7>] } }
blob {
  threshold 0.5
  sphere { 1.95*y, 0.30, 1 } sphere { 2.12*y, 0.26, 1 } sphere { 2.32*y, 0.2, 1 } sphere { 2.5*y, 0.14, 0.9 }
  pigment { gradient y color_map { [0 color rgb <1, 0.72, 0.25>] [0.4 color rgb <1, 0.95, 0.70>] [1 color rgb <1, 0.80, 0.30>] } scale 0.9 translate 1.75*y }
  finish { ambient 1.3 diffuse 0 }
  no_shadow
}
disc { <0, 2.2, 0.3>, z, 1.0 pigment { spherical color_map { [0 color rgbt <1, 0.5, 0.15, 1>] [0.6 color rgbt <1, 0.55, 0.2, 0.8>] [1 color rgbt <1, 0.7, 0.35, 0.4>] } translate <0, 2.2, 0.3> } finish { ambient 1 diffuse 0 } no_shadow }
// A brass plate.
lathe { cubic_spline 6, <0.1, -0.1>, <0.3, 0.06>, <0.75, 0.06>, <0.95, 0.16>, <1.0, 0.2>, <1.0, 0.3>
  pigment { color rgb <0.62, 0.42, 0.16> } finish { ambient 0.05 diffuse 0.5 specular 0.8 roughness 0.02 metallic reflection { 0.15 metallic } } }
