// A mushroom in the grass of a wood. Our own scene; README.md says how it becomes mushroom.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
camera { location <0, 1.5, -6> look_at <0, 1.05, 0> angle 34 aperture 0.25 focal_point <0, 1.2, -0.8> blur_samples 32 }
light_source { <-6, 9, -6> color rgb <1, 0.97, 0.90> area_light <4,0,0>, <0,4,0>, 4, 4 adaptive 1 jitter }
light_source { <7, 4, -6> color rgb 0.25 shadowless }
plane { y, 0
  pigment { granite color_map { [0 color rgb <0.10, 0.09, 0.04>] [0.5 color rgb <0.14, 0.20, 0.06>] [1 color rgb <0.30, 0.26, 0.13>] } scale 0.8 }
  normal { granite 0.8 scale 0.3 }
}
plane { z, 12 pigment { bozo turbulence 0.4 color_map { [0 color rgb <0.05, 0.09, 0.03>] [0.6 color rgb <0.14, 0.22, 0.07>] [1 color rgb <0.34, 0.42, 0.18>] } scale 1.6 } finish { ambient 0.4 diffuse 0.6 } }
#declare Cap = texture {
  pigment { bozo turbulence 0.3 color_map { [0 color rgb <0.46, 0.24, 0.10>] [1 color rgb <0.62, 0.36, 0.17>] } scale 0.5 }
  normal { bumps 0.15 scale 0.15 }
  finish { ambient 0.06 diffuse 0.8 specular 0.25 roughness 0.04 }
}
#declare Flesh = texture {
  pigment { wood turbulence 0.1 color_map { [0 color rgb <0.86, 0.80, 0.66>] [1 color rgb <0.94, 0.90, 0.80>] } scale 0.1 rotate 90*x }
  normal { bumps 0.2 scale <0.05, 0.5, 0.05> }
  finish { ambient 0.06 diffuse 0.8 }
}
#declare Mushroom = union {
  lathe { cubic_spline 7, <0.4, -0.6>, <0.42, -0.1>, <0.44, 0.25>, <0.34, 0.8>, <0.30, 1.3>, <0.32, 1.6>, <0.3, 2> texture { Flesh } }
  // The cap, and its under side with gills.
  lathe { cubic_spline 8, <-0.3, 2.1>, <0, 2.1>, <0.55, 1.98>, <1.0, 1.65>, <1.18, 1.28>, <1.12, 1.16>, <0.95, 1.18>, <0.8, 1.2> texture { Cap } }
  cone { 1.17*y, 1.12, 1.42*y, 0.3 texture { Flesh pigment { radial frequency 70 color_map { [0 color rgb <0.70, 0.60, 0.44>] [0.5 color rgb <0.90, 0.84, 0.70>] [1 color rgb <0.70, 0.60, 0.44>] } } } }
}
object { Mushroom rotate <-8, 0, 5> }
object { Mushroom scale 0.5 rotate <-4, 0, -12> translate <1.35, 0, 0.3> }
// Blades of grass.
#declare Seed = seed(5);
#declare I = 0;
#while (I < 900)
  #declare X = rand(Seed)*9 - 4.5; #declare Z = rand(Seed)*8 - 2.2; #declare H = 0.25 + 0.4*rand(Seed); #declare L = (rand(Seed) - 0.5)*0.5;
  #if (X*X + Z*Z > 0.5)
    cone { <X, 0, Z>, 0.03, <X + L, H, Z + (rand(Seed) - 0.5)*0.3>, 0.004
      pigment { color rgb <0.16 + 0.2*rand(Seed), 0.32 + 0.16*rand(Seed), 0.07> } finish { ambient 0.08 } }
  #end
  #declare I = I + 1;
#end
