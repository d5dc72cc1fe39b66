// An hourglass on a wooden table. Our own scene; README.md says how it becomes hourglass.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 12 }
#include "woods.inc"
camera { location <0, 2.3, -7.6> look_at <0, 1.5, 0> angle 32 aperture 0.1 focal_point <0, 1.5, -0.5> blur_samples 20 }
light_source { <-6, 9, -7> color rgb <1, 0.97, 0.92> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <8, 5, -5> color rgb 0.3 shadowless }
plane { y, 0 texture { T_Wood10 scale 2 rotate <0, 70, 3> } }
plane { z, 9 pigment { gradient y color_map { [0 color rgb <0.50, 0.46, 0.40>] [1 color rgb <0.72, 0.70, 0.64>] } scale 8 } }
#declare Wood = texture { T_Wood12 scale 0.7 rotate 90*y finish { specular 0.4 roughness 0.03 } }
#declare Disc = union { cylinder { 0, 0.16*y, 1.0 } torus { 1.0, 0.08 translate 0.08*y } texture { Wood } }
object { Disc }
object { Disc translate 2.9*y }
#declare I = 0;
#while (I < 3)
  lathe { cubic_spline 9, <0.05, -0.1>, <0.09, 0.1>, <0.06, 0.4>, <0.11, 0.9>, <0.06, 1.5>, <0.11, 2.1>, <0.06, 2.6>, <0.09, 2.95>, <0.05, 3.1>
    translate 0.88*x rotate y*(30 + 120*I) texture { Wood } }
  #declare I = I + 1;
#end
#declare Glass = material {
  texture { pigment { color rgbt <0.96, 1, 0.98, 0.88> } finish { ambient 0 diffuse 0.1 specular 0.8 roughness 0.003 reflection { 0.03, 0.3 fresnel on } conserve_energy } }
  interior { ior 1.02 }
}
lathe { cubic_spline 11, <0.5, 0.05>, <0.55, 0.16>, <0.66, 0.5>, <0.55, 1.05>, <0.18, 1.42>, <0.07, 1.53>, <0.18, 1.64>, <0.55, 2.0>, <0.66, 2.55>, <0.55, 2.9>, <0.5, 3.0> material { Glass } }
#declare Sand = texture { pigment { granite color_map { [0 color rgb <0.80, 0.58, 0.32>] [1 color rgb <0.90, 0.70, 0.44>] } scale 0.1 } normal { granite 0.2 scale 0.05 } finish { ambient 0.1 diffuse 0.8 } }
lathe { cubic_spline 8, <0.3, 0.16>, <0.50, 0.17>, <0.60, 0.4>, <0.60, 0.60>, <0.30, 0.80>, <0.05, 0.98>, <0, 1.0>, <-0.1, 1.0> texture { Sand } }
lathe { cubic_spline 7, <0, 1.3>, <0.04, 1.53>, <0.14, 1.65>, <0.48, 2.0>, <0.52, 2.1>, <0, 1.98>, <-0.2, 1.9> texture { Sand } }
cylinder { 0.95*y, 1.6*y, 0.02 texture { Sand } }
